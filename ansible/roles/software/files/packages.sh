# Installs the packages that are named, or brings them to the newest version, and says `changed` or
# `same`. /opt/chamberlain/.apt.tar, where it is, becomes the repository /opt/chamberlain/apt first.
umask 022
folder=/opt/chamberlain
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
if [ -e "$folder/.apt.tar" ]; then
    trap 'rm -rf "$folder/.apt.tar" "$folder/.apt.new"' EXIT
    rm -rf "$folder/.apt.new"
    mkdir "$folder/.apt.new"
    tar --extract --file "$folder/.apt.tar" --directory "$folder/.apt.new" --no-same-owner --no-same-permissions
    # apt reads as an account of its own.
    chmod -R a+rX "$folder/.apt.new"
    rm -rf "$folder/apt"
    mv "$folder/.apt.new" "$folder/apt"
fi
versions() {
    dpkg-query --show --showformat '${Package} ${Version} ${db:Status-Status}\n' "$@" 2>/dev/null || :
}
had=$(versions "$@")
# Our list alone: a host may have no way to the distribution's archive.
apt-get --quiet --quiet update -o Dir::Etc::sourcelist=sources.list.d/chamberlain.sources \
    -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0 -o APT::Update::Error-Mode=any
apt-get --quiet --quiet --yes --no-install-recommends -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 \
    -o Dpkg::Options::=--force-confold install "$@" >&2
if [ "$had" = "$(versions "$@")" ]; then echo same; else echo changed; fi
