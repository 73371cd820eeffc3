# Puts hosts.toml and the certificate onto the node whose /etc/containerd is at /node, and keeps them up to date.
# containerd reads both at each pull. A file is replaced by a rename, the key before its certificate.
set -eu
umask 022
source=${SOURCE-} target=${TARGET-/node}

install() { # FROM TO MODE
  cmp -s "$1" "$2" && return
  mkdir -p "${2%/*}"
  cp "$1" "$2.new"
  chmod "$3" "$2.new"
  mv "$2.new" "$2"
  echo "installed $2"
}

trap 'exit 0' TERM INT
while :; do
  install "$source/certificate/ca.crt" "$target/portcullis/ca.crt" 644
  install "$source/certificate/tls.key" "$target/portcullis/tls.key" 600
  install "$source/certificate/tls.crt" "$target/portcullis/tls.crt" 644
  for registry in $REGISTRIES; do
    install "$source/config/hosts.toml" "$target/certs.d/$registry/hosts.toml" 644
  done
  [ -z "${ONCE-}" ] || exit 0
  sleep 30 &
  wait $!
done
