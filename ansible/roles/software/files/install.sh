# Installs Chamberlain from the wheels in $1/.wheels.tar into an environment in $1, without network; and
# links to its programs in $2.
links=$2
umask 022
wheels=$(mktemp -d)
archive="$1/.wheels.tar"
trap 'rm -rf "$wheels" "$archive"' EXIT
tar --extract --file "$archive" --directory "$wheels" --no-same-owner
[ -x "$1/bin/python" ] || python3 -m venv "$1"
set -- "$1" "$1/bin/python" -I -m pip install --quiet --disable-pip-version-check --no-cache-dir \
    --no-index --find-links "$wheels" --root-user-action ignore
folder=$1
shift
"$@" --upgrade 'chamberlain[endpoint,hub]'
# The same version may have other content.
"$@" --force-reinstall --no-deps chamberlain
for program in chamberlain chamberlain-hub chamberlain-endpoint; do
    [ -z "$links" ] || ln -sfn "$folder/bin/$program" "$links/$program"
done
