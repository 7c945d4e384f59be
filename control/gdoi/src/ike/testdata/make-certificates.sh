#!/bin/sh
# Makes the certificates, keys and CRL for the tests of phase 1, by OpenSSL. A key server and a member have
# one each for every kind of key; the members further down have one with something wrong in it. What is meant
# to be valid is so from 2024 to 2074; the tests check at a fixed time in 2026.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$here"
rm -f ./*.pem ./*.crl
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
: > "$work/index.txt"
cat > "$work/ca.cnf" <<CNF
[ca]
default_ca=this
[this]
database=$work/index.txt
new_certs_dir=$work
rand_serial=yes
default_md=sha256
policy=any
unique_subject=no
[any]
O=optional
CN=optional
[crl]
authorityKeyIdentifier=keyid
[req]
distinguished_name=name
[name]
[root]
basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign
subjectKeyIdentifier=hash
CNF

# sign NAME SUBJECT KEY ISSUER [ALTERNATIVE-NAME [FROM TO]]
sign() {
    printf '[leaf]\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n%s\n' \
        "${5:+subjectAltName=$5}" | cat "$work/ca.cnf" - > "$work/leaf.cnf"
    openssl req -new -config "$work/leaf.cnf" -key "$3.key.pem" -subj "$2" -utf8 -out "$work/csr"
    if [ "$1" = "$4" ]; then issuer=-selfsign extensions=root; else issuer="-cert $4.pem" extensions=leaf; fi
    # shellcheck disable=SC2086
    openssl ca -batch -notext -config "$work/leaf.cnf" $issuer -keyfile "$4.key.pem" -in "$work/csr" -out "$1.pem" \
        -preserveDN -extensions $extensions -startdate "${6:-20240101000000Z}" -enddate "${7:-20740101000000Z}" \
        2> "$work/log" || { cat "$work/log"; exit 1; }
}
ec() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:"$2" -out "$1.key.pem"; }

ec root P-256; sign root "/O=Example/CN=Root" root root
ec stranger P-256; sign stranger "/O=Example/CN=Stranger" stranger stranger
openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.key.pem
ec p256 P-256
ec p384 P-384
for key in rsa p256 p384; do
    sign "ks-$key" "/O=Example/CN=ks1.example.net" $key root "DNS:ks1.example.net,IP:192.0.2.1"
    sign "gm-$key" "/O=Example/CN=gm1.example.net" $key root "DNS:gm1.example.net,email:gm1@example.net,IP:192.0.2.7"
done
sign expired "/O=Example/CN=gm1.example.net" p256 root "DNS:gm1.example.net" 20240101000000Z 20250101000000Z
sign untrusted "/O=Example/CN=gm1.example.net" p256 stranger "DNS:gm1.example.net"
sign revoked "/O=Example/CN=gm1.example.net" p256 root "DNS:gm1.example.net"
openssl ca -config "$work/ca.cnf" -cert root.pem -keyfile root.key.pem -revoke revoked.pem 2> "$work/log"
openssl ca -gencrl -config "$work/ca.cnf" -crlexts crl -cert root.pem -keyfile root.key.pem \
    -crl_lastupdate 20250101000000Z -crl_nextupdate 20730101000000Z -out root.crl 2> "$work/log"
rm root.key.pem stranger.key.pem
