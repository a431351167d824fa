#!/bin/sh
# What `make` needs before it can do anything: system packages, Python, a virtual environment.
#
#   tools/setup.sh [system|venv|all]   install what is missing (default: all); says nothing when nothing is
#   tools/setup.sh workers             print how many labs this machine may run at once
#
# As root, or with sudo that asks for no password, missing Debian packages are installed. Otherwise one line says what
# to install. Nothing outside .venv is touched besides that.
set -eu
cd "$(dirname "$0")/.."

VENV=.venv
STAMP=$VENV/.ready              # newer than pyproject.toml: the packages in .venv are those that it asks for
# Programs are also looked for where an ordinary user's PATH does not lead.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

say() { printf 'lblab: %s\n' "$*" >&2; }
fail() { say "$*"; exit 2; }
have() { command -v "$1" >/dev/null 2>&1; }

# A Python of version 3.11 or later that can make virtual environments; the machine's default one first.
find_python() {
    for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            found=$candidate
            # Debian keeps ensurepip in a package of its own
            "$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1 && printf '%s\n' "$candidate" && return
        fi
    done
    return 1
}

# Where distributions put FRR's daemons, as in harness/routing/daemons.py.
have_frr() {
    for folder in /usr/lib/frr /usr/libexec/frr /usr/sbin /usr/local/sbin; do
        [ -x "$folder/bgpd" ] && return
    done
    return 1
}

missing_packages() {
    found=
    find_python >/dev/null || [ -x "$VENV/bin/python" ] || printf 'python3 python3-venv '
    have_frr || printf 'frr '
    have nft || printf 'nftables '
    have ip || printf 'iproute2 '
    have nsenter || printf 'util-linux '
    have make || printf 'make '
    [ -e /etc/ssl/certs/ca-certificates.crt ] || [ -d /etc/pki/tls ] || printf 'ca-certificates '
}

# What the documentation's examples use; installed along with the others, and not missed by labs.
useful_packages() {
    have curl || printf ' curl'
    have tcpdump || printf ' tcpdump'
}

# Runs a command as root, if that is possible without asking for a password.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@" </dev/null; fi
}

install_packages() {
    packages=$(missing_packages)
    packages=${packages% }
    [ -n "$packages" ] || return 0
    if ! have apt-get; then
        fail "install these first, under the names that your distribution gives them: $packages"
    fi
    if ! as_root true 2>/dev/null; then
        fail "install these first, as root: apt-get install $packages"
    fi
    packages="$packages$(useful_packages)"
    say "installing $packages"
    case " $packages " in *" frr "*) fresh_frr=yes ;; *) fresh_frr= ;; esac
    apt="env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300"
    # a stale list may still do, and a machine without network has its own way of saying so
    as_root $apt update >&2 || say "the package lists could not be updated; trying with those that are there"
    as_root $apt install -y --no-install-recommends $packages >&2 ||
        fail "apt-get could not install $packages: see above"
    # labs start FRR's programs themselves; the machine needs no routing daemon
    if [ -n "$fresh_frr" ] && [ -d /run/systemd/system ]; then
        as_root systemctl disable --now frr.service >/dev/null 2>&1 || :
    fi
    packages=$(missing_packages)
    case $packages in
        "") ;;
        *python3*) fail "Python 3.11 or later is needed, and this distribution has an older one: install it and name it, make PYTHON=/path/to/python3.12" ;;
        *) fail "still missing after apt-get install: $packages" ;;
    esac
}

# Runs a command that says nothing while it works, and says every few seconds that it does.
telling() {
    "$@" >&2 &
    working=$!
    ( seconds=0; while sleep 5 >/dev/null 2>&1 && kill -0 "$working" 2>/dev/null; do seconds=$((seconds + 5)); say "... $seconds s"; done ) &
    ticking=$!
    result=0
    wait "$working" || result=$?
    kill "$ticking" 2>/dev/null || :
    wait "$ticking" 2>/dev/null || :
    return "$result"
}

# Another one may have set PYTHON or moved the folder: a virtual environment that does not run is made anew.
make_venv() {
    if [ -e "$STAMP" ] && [ -z "$(find pyproject.toml -newer "$STAMP")" ] && "$VENV/bin/python" -c '' 2>/dev/null; then
        return 0
    fi
    if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
        python=$(find_python) || fail "Python 3.11 or later with venv is needed: install it, or name it: make PYTHON=/path/to/python3.12"
        say "making $VENV with $("$python" --version)"
        rm -rf "$VENV"
        "$python" -m venv "$VENV"
    fi
    say "installing Python packages into $VENV"
    telling "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[dev,kind]' ||
        fail "pip could not install the Python packages: see above"
    touch "$STAMP"
}

# A lab needs 1.2 GB and about one core while it comes up.
workers() {
    cores=$(nproc 2>/dev/null || echo 1)
    by_memory=$(awk '/^MemAvailable:/ { print int($2 / 1500000) }' /proc/meminfo)
    count=$cores
    [ "$by_memory" -ge "$count" ] || count=$by_memory
    [ "$count" -le 8 ] || count=8
    if [ "$count" -ge 2 ]; then echo "$count"; else echo 0; fi   # 0: pytest-xdist stays out of the way
}

[ "$(uname -s)" = Linux ] || fail "labs need Linux"
case ${1:-all} in
    system) install_packages ;;
    venv) make_venv ;;
    all) install_packages; make_venv ;;
    workers) workers ;;
    *) fail "usage: tools/setup.sh [system|venv|all|workers]" ;;
esac
