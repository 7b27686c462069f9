#!/bin/sh
# CPython 3.14 and 3.15 from Debian's sid, in a folder of their own: sid's libc isn't the system's. Run as root.
#
#   sid.sh create FOLDER                     lays Debian's sid with both into the folder (3 minutes, 1 GB)
#   sid.sh venv FOLDER PROJECT 3.15          builds the project for it, with all that its tests need
#   sid.sh run FOLDER PROJECT COMMAND ...    runs a command there; the project is /memwatch, each Python /venv/3.15
set -eu

VERSIONS="3.14 3.15"
PACKAGES="gcc g++ libc6-dev libzydis-dev make git ca-certificates"
TEST_PACKAGES="gdb pkg-config libsqlite3-dev libmariadb-dev postgresql mariadb-server-core mariadb-client-core"

create() {
    folder=$1
    sources=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true)
    mirror=$(echo "$sources" | awk '/^URIs:/ {print $2; exit} $1 == "deb" {for (i = 2; i <= NF; i++) if ($i ~ /^http/) {print $i; exit}}')
    include=$(for v in $VERSIONS; do printf 'python%s,python%s-venv,python%s-dev,libpython%s-testsuite,' $v $v $v $v; done; echo $PACKAGES | tr ' ' ,)
    rm -rf "$folder"
    debootstrap --variant=minbase --keyring=/usr/share/keyrings/debian-archive-keyring.gpg --include="$include" sid "$folder" "$mirror"
    mkdir -p "$folder/memwatch" "$folder/venv" "$folder/root/.config" "$folder/etc/postgresql-common/createcluster.d"
    echo "create_main_cluster = false" >"$folder/etc/postgresql-common/createcluster.d/memwatch.conf"
    printf '#!/bin/sh\nexit 101\n' >"$folder/usr/sbin/policy-rc.d" # nothing is started
    chmod +x "$folder/usr/sbin/policy-rc.d"
    run "$folder" . env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $TEST_PACKAGES
}

# Mounts are this command's own, and end with it.
run() {
    unshare --mount --propagation private sh -ec '
        folder=$1 project=$2; shift 2
        for file in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
            [ ! -e $file ] || cp -L $file "$folder$file"
        done
        [ ! -d "${HOME:-/root}/.config/pip" ] || cp -r "${HOME:-/root}/.config/pip" "$folder/root/.config/"
        mount --bind "$folder" "$folder"
        mount --bind "$project" "$folder/memwatch"
        mount -t proc proc "$folder/proc"
        mount --rbind /dev "$folder/dev"
        mount --bind /sys "$folder/sys"
        mount -t tmpfs tmpfs "$folder/tmp"
        HOME=/root TMPDIR=/tmp exec chroot "$folder" sh -c "cd /memwatch && exec \"\$@\"" sh "$@"' sh "$@"
}

venv() {
    version=$3
    run "$1" "$2" sh -ec '
        python=/venv/'"$version"'/bin/python
        [ -x $python ] || python'"$version"' -m venv /venv/'"$version"'
        pip="$python -m pip install --quiet --disable-pip-version-check"
        $pip "setuptools>=77" wheel "cffi>=1.17"
        PYTHONWARNINGS=ignore $pip --no-build-isolation --editable ".[example]"
        PYTHONWARNINGS=ignore $pip --no-build-isolation --no-deps $(for p in plugins/*/pyproject.toml; do echo --editable $(dirname $p); done)
        $python -c "import tomllib; print(*tomllib.load(open(\"pyproject.toml\", \"rb\"))[\"project\"][\"optional-dependencies\"][\"dev\"], sep=\"\\n\")" |
            $pip --requirement /dev/stdin'
}

command=$1
shift
"$command" "$@"
