#!/bin/sh
# Make sure that commands from Debian packages are here: scripts/debian.sh PROBE PACKAGE [PROBE PACKAGE]...
# A probe is a command's name or a shell command that succeeds when the package is there.
# As root the missing packages are installed through apt-get, without leaving a service running; else they are named.
set -eu
missing=
while [ $# -gt 0 ]; do
  case $1 in
    *' '*) sh -c "$1" >/dev/null 2>&1 || missing="$missing $2" ;;
    *) PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1 || missing="$missing $2" ;;
  esac
  shift 2
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
  echo "seawall: these Debian packages are needed and there is no apt-get here:$missing" >&2
  echo "  hint: install what your system calls them and run make again" >&2
  exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "seawall: these Debian packages are missing:$missing" >&2
  echo "  hint: run 'sudo apt-get install$missing' and run make again" >&2
  exit 1
fi

# Debian starts a service when its package is installed; policy-rc.d is the documented way to say no.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  trap 'exit 130' INT TERM
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
fi

echo "seawall: installing Debian packages:$missing" >&2
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 - a list of package names
if ! apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1; then
  apt-get update -qq >&2
  # shellcheck disable=SC2086 - a list of package names
  apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi
