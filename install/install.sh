#!/bin/sh
# Installs muxi-server: the file for this machine, its checksum verified. Sends nothing anywhere.
#
#   curl -fsSL https://muxi.org/install | sh
#   sh install.sh --help
#
# Everything is in functions, and the last line begins: half a download does nothing.
set -eu

RELEASES=${MUXI_RELEASES:-https://github.com/muxi-ai/server/releases}
GLIBC=2.36 # the oldest that the file runs on: as in build/nuitka.cfg

usage() {
    cat <<'TEXT'
Usage: install.sh [OPTION]...

  --user               into ~/.local/bin (the default, unless you are root)
  --system             into /usr/local/bin (the default for root)
  --version VERSION    this one, such as 1.20261122.0, instead of the latest
  --from PLACE         a directory with the files of a release, or the address of a list of releases
  --non-interactive    ask nothing (the default where there is no terminal)
  --dry-run            say what would be done, and do nothing
  --help               this

Configuration and data: root's are in /etc/muxi and /var/lib/muxi when installed below /usr, a user's
in ~/.muxi. Neither is touched here.
TEXT
}

say() {
    printf '%s\n' "$*"
}

# fail WHAT [CURE]: one sentence of what is wrong, one of what to do, and the end.
fail() {
    printf 'Error: %s\n' "$1" >&2
    [ $# -lt 2 ] || printf 'What to do: %s\n' "$2" >&2
    exit 1
}

has() {
    command -v "$1" >/dev/null 2>&1
}

read_arguments() {
    scope=
    version=
    from=
    dry_run=no
    interactive=no
    [ ! -t 0 ] || interactive=yes
    while [ $# -gt 0 ]; do
        case $1 in
            --user) scope=user ;;
            --system) scope=system ;;
            --non-interactive) interactive=no ;;
            --dry-run) dry_run=yes ;;
            --version | --from)
                [ $# -ge 2 ] || fail "$1 needs a value." "see install.sh --help"
                if [ "$1" = --version ]; then version=${2#v}; else from=$2; fi
                shift
                ;;
            --help | -h)
                usage
                exit 0
                ;;
            *)
                printf 'Error: unknown option: %s\nWhat to do: see install.sh --help\n' "$1" >&2
                exit 2
                ;;
        esac
        shift
    done
    case $version in
        *[!0-9.]*) fail "'$version' is not a version." "give one such as 1.20261122.0" ;;
    esac
}

find_machine() {
    system=$(uname -s)
    processor=$(uname -m)
    case $system in
        Linux) os=linux ;;
        Darwin) os=darwin ;;
        *) fail "there is no muxi-server for $system." "on Windows use install.ps1; elsewhere run it from source" ;;
    esac
    case $processor in
        x86_64 | amd64) arch=amd64 ;;
        aarch64 | arm64) arch=arm64 ;;
        *) fail "there is no muxi-server for $processor." "it runs on amd64 and arm64; elsewhere run it from source" ;;
    esac
    file=muxi-server-$os-$arch
    [ "$os" != linux ] || check_glibc
}

check_glibc() {
    found=$(getconf GNU_LIBC_VERSION 2>/dev/null | sed -n 's/^glibc \([0-9.]*\).*/\1/p') || found=
    if [ -z "$found" ]; then
        fail "this system has no glibc, which muxi-server needs (musl is none)." \
            "use the Docker image, or run it from source"
    fi
    oldest=$(printf '%s\n%s\n' "$GLIBC" "$found" | sort -t . -k 1,1n -k 2,2n | head -n 1)
    if [ "$oldest" != "$GLIBC" ]; then
        fail "this system's glibc is $found, and muxi-server needs $GLIBC or newer." \
            "use a newer release of the system, the Docker image, or run it from source"
    fi
}

find_directory() {
    if [ -z "$scope" ]; then
        if [ "$(id -u)" = 0 ]; then scope=system; else scope=user; fi
    fi
    if [ "$scope" = system ]; then
        directory=/usr/local/bin
    else
        [ -n "${HOME:-}" ] || fail "HOME is not set, so your directory is unknown." "set it, or use --system"
        directory=$HOME/.local/bin
    fi
    # For tests, and for packagers.
    directory=${MUXI_INSTALL_ROOT:-}$directory
}

# The address of a file of the release that was asked for.
address() {
    if [ -n "$version" ]; then say "${1%/}/download/v$version/$2"; else say "${1%/}/latest/download/$2"; fi
}

# fetch NAME TARGET
fetch() {
    case $from in
        '') place=$(address "$RELEASES" "$1") ;;
        *://*) place=$(address "$from" "$1") ;;
        *)
            [ -r "$from/$1" ] || fail "$from has no readable file $1." "give the directory of a release"
            cp "$from/$1" "$2" 2>/dev/null || no_room
            return
            ;;
    esac
    code=0
    if has curl; then
        secure=
        case $place in https://*) secure='--proto =https --tlsv1.2' ;; esac # redirections, too
        # shellcheck disable=SC2086 # these are words, or nothing
        told=$(curl -fsSL $secure --retry 3 --connect-timeout 20 -o "$2" "$place" 2>&1) || code=$?
        [ "$code" != 23 ] || no_room
    elif has wget; then
        told=$(wget -nv --tries=3 --timeout=20 -O "$2" "$place" 2>&1) || code=$?
        [ "$code" != 3 ] || no_room
    else
        fail "neither curl nor wget is installed." "install one of them, or give --from a directory"
    fi
    [ "$code" = 0 ] || fail "$place could not be downloaded: $(printf '%s' "${told:-no reason given}" | tail -n 1)" \
        "check the network (HTTPS_PROXY names a proxy) and the version, or give --from a directory"
}

no_room() {
    fail "$file could not be written to $directory." "see whether there is room on its disk: df -h $directory"
}

checksum() {
    if has sha256sum; then
        sha256sum "$1"
    elif has shasum; then
        shasum -a 256 "$1"
    else
        openssl dgst -sha256 -r "$1"
    fi | cut -d ' ' -f 1
}

verify() {
    has sha256sum || has shasum || has openssl ||
        fail "nothing here can make a SHA-256 checksum." "install coreutils, or openssl"
    wanted=$(sed -n "s/^\([0-9a-f]\{64\}\) [ *]$file\$/\1/p" "$work/SHA256SUMS")
    [ -n "$wanted" ] || fail "the release has no checksum for $file." "choose another --version"
    [ "$(checksum "$work/$file")" = "$wanted" ] || fail "$file is damaged: its checksum is another one." "try again"
}

install_file() {
    mkdir -p "$directory" 2>/dev/null || no_permission
    [ -w "$directory" ] || no_permission
    [ ! -d "$directory/muxi-server" ] || fail "$directory/muxi-server is a directory." "move it away"
    # Beside its place, so that it gets there in one step, and a full disk shows before.
    work=$(mktemp -d "$directory/.muxi-server.XXXXXX" 2>/dev/null) || no_room
    trap 'rm -rf "$work"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    fetch SHA256SUMS "$work/SHA256SUMS"
    fetch "$file" "$work/$file"
    verify
    chmod 755 "$work/$file"
    told=$("$work/$file" version 2>&1) || fail "the file does not run on this machine: $told" "please report it"
    mv -f "$work/$file" "$directory/muxi-server" 2>/dev/null || no_permission
}

no_permission() {
    fail "you may not write to $directory." "use sudo, or --user for an installation of your own"
}

tell_path() {
    case :${PATH:-}: in
        *:"$directory":*) return ;;
    esac
    line="export PATH=\"$directory:\$PATH\""
    profile=
    case ${SHELL:-} in
        */zsh) profile=$HOME/.zshrc ;;
        */bash) profile=$HOME/.bashrc ;;
    esac
    if [ "$interactive" = yes ] && [ -n "$profile" ]; then
        printf 'Add %s to PATH in %s? [y/N] ' "$directory" "$profile"
        read -r answer || answer=
        case $answer in
            y | Y | yes)
                printf '\n%s\n' "$line" >>"$profile"
                say "Added. It holds in new shells."
                return
                ;;
        esac
    fi
    say "$directory is not on your PATH: $line"
}

main() {
    read_arguments "$@"
    find_machine
    find_directory
    if [ "$dry_run" = yes ]; then
        say "Would install $file, version ${version:-latest}, from ${from:-$RELEASES},"
        say "as $directory/muxi-server, after checking it against SHA256SUMS. Nothing was done."
        exit 0
    fi
    install_file
    say "Installed $directory/muxi-server: $(printf '%s\n' "$told" | head -n 1)"
    tell_path
    say "Next: muxi-server init, then muxi-server start. A running server takes it over by"
    say "muxi-server upgrade --restart, and no request is lost."
}

main "$@"
