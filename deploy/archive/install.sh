#!/bin/sh
# Installs Portcullis from the folder that this file is in, on Linux with systemd. It downloads nothing.
#
# usage: ./install.sh [--dry-run | --remove]
#
# It writes, as root:
#   /opt/portcullis                                 the program, its packages and its own Node; replaced as a whole
#   /usr/local/bin/portcullis                       starts it
#   /etc/systemd/system/portcullis.service          the unit; it is neither enabled nor started
#   /usr/local/share/man/man1/portcullis*.1         manual pages
#   /usr/local/share/bash-completion/completions/portcullis
#   /etc/portcullis/gateway.yaml                    a first config, only where there is none
#   /etc/portcullis/keys                            for private keys, mode 0700, only where there is none
#
# A gateway that runs goes on as it was until it is restarted. --remove takes all of this away again
# but /etc/portcullis and /var/lib/portcullis, which hold your config, your keys and the cache.
# --dry-run prints the commands.
set -eu

say() { echo "install.sh: $*" >&2; }

run=''
action=install
case ${1-} in
  '') ;;
  --dry-run) run='echo' ;;
  --remove) action=remove ;;
  --help | -h) sed -n '2,18s/^# \{0,1\}//p' "$0"; exit 0 ;;
  *) say "usage: ./install.sh [--dry-run | --remove]"; exit 2 ;;
esac
if [ -z "$run" ] && [ "$(id -u)" != 0 ]; then
  say "run it as root, or with --dry-run"
  exit 2
fi

here=$(cd "$(dirname "$0")" && pwd)
root=${DESTDIR-}
program=$root/opt/portcullis
start=$root/usr/local/bin/portcullis
unit=$root/etc/systemd/system/portcullis.service
manuals=$root/usr/local/share/man/man1
completion=$root/usr/local/share/bash-completion/completions/portcullis
config=$root/etc/portcullis

# Of another root folder there is nothing to tell systemd.
reload_units() {
  if [ -z "$root" ] && [ -d /run/systemd/system ]; then $run systemctl daemon-reload; fi
}

write() { # FILE: takes the text from standard input
  if [ -n "$run" ]; then
    echo "write $1"
  else
    cat >"$1.new"
    mv "$1.new" "$1"
  fi
}

if [ "$action" = remove ]; then
  if [ -z "$root" ] && [ -d /run/systemd/system ]; then systemctl disable --now portcullis.service || :; fi
  rm -rf "$program" "$start" "$unit" "$completion" "$manuals"/portcullis.1 "$manuals"/portcullis-*.1
  reload_units
  say "removed; $config and $root/var/lib/portcullis are still there"
  exit 0
fi

# The program is there whole or not at all.
$run mkdir -p "$root/opt"
$run rm -rf "$program.new"
$run cp -R "$here/program" "$program.new"
$run rm -rf "$program.old"
if [ -e "$program" ]; then $run mv "$program" "$program.old"; fi
$run mv "$program.new" "$program"
$run rm -rf "$program.old"

$run mkdir -p "$(dirname "$start")" "$(dirname "$unit")" "$manuals" "$(dirname "$completion")" "$config"
write "$start" <<'END'
#!/bin/sh
exec /opt/portcullis/bin/node /opt/portcullis/dist/main.js "$@"
END
$run chmod 755 "$start"
$run cp "$here/portcullis.service" "$unit"
$run cp "$here"/man/*.1 "$manuals"
if [ -n "$run" ]; then
  echo "write $completion"
else
  "$program/bin/node" "$program/dist/main.js" completion bash | write "$completion"
fi
if [ ! -e "$config/keys" ]; then $run mkdir -m 700 "$config/keys"; fi
if [ ! -e "$config/gateway.yaml" ]; then
  write "$config/gateway.yaml" <<'END'
# Every key: man portcullis, and docs/reference/config.md. `portcullis check --config FILE` says what is wrong.
listen:
  port: 5443
  tls:
    cert: certs/gateway.local.crt
    # From /etc/portcullis/keys: the unit hands it to the gateway, whose user changes with each start.
    key: /run/credentials/portcullis.service/keys_gateway.local.key
    clientAuth: required
    clientCa: [certs/ca.crt]
    crl: [certs/ca.crl]
cache:
  dir: /var/lib/portcullis
upstreams:
  docker.io: {}
defaultUpstream: docker.io
END
fi
reload_units
if [ -n "$run" ]; then
  say "nothing was changed: this is what an install does"
  exit 0
fi

cat >&2 <<END
installed $("$here/program/bin/node" -p "require('$here/program/package.json').version"). Next, as root:
  cd /etc/portcullis
  portcullis pki init && portcullis pki server gateway.local
  mv certs/gateway.local.key keys/
  systemctl enable --now portcullis
After an upgrade: systemctl restart portcullis
END
