#!/bin/sh
# Makes x509/ and keys/: certificates, CRLs and private keys by OpenSSL, for the tests of x509 and signature.
# What is meant to be valid is so from 2024 to 2074; the tests check at a fixed time in 2026.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
rm -rf "$here/x509" "$here/keys"
mkdir -p "$here/x509" "$here/keys"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
FROM=20240101000000Z
TO=20740101000000Z

rsa() { openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:"${2:-2048}" -out "$1.key"; }
ec() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:"${2:-P-256}" -out "$1.key"; }

configuration() { # ISSUER EXTENSIONS
    [ -d "ca-$1" ] || { mkdir "ca-$1"; : > "ca-$1/index.txt"; echo unique_subject=no > "ca-$1/index.txt.attr"; }
    cat <<EOF
[ca]
default_ca=this
[this]
database=ca-$1/index.txt
new_certs_dir=ca-$1
rand_serial=yes
default_md=sha256
policy=any
email_in_dn=yes
unique_subject=no
[crl]
authorityKeyIdentifier=keyid
[any]
C=optional
O=optional
OU=optional
CN=optional
emailAddress=optional
[req]
distinguished_name=name
[name]
[extensions]
$(printf '%s\n' "$2" | tr '|' '\n')
EOF
}
# sign NAME SUBJECT ISSUER EXTENSIONS [FROM TO [DIGEST]]: ISSUER may be NAME itself; | stands between extensions.
sign() {
    configuration "$3" "$4" > "$1.cnf"
    openssl req -new -config "$1.cnf" -key "$1.key" -subj "$2" -utf8 -out "$1.csr"
    if [ "$1" = "$3" ]; then self=-selfsign; else self="-cert $3.pem"; fi
    # shellcheck disable=SC2086
    openssl ca -batch -notext -config "$1.cnf" $self -keyfile "$3.key" -in "$1.csr" -out "$1.pem" -preserveDN \
        -extensions extensions -startdate "${5:-$FROM}" -enddate "${6:-$TO}" -md "${7:-sha256}" 2> log || { cat log; exit 1; }
    cp "$1.pem" "$here/x509/"
}
# crl NAME ISSUER LAST NEXT [REVOKED]
crl() {
    configuration "$2" "" > crl.cnf
    [ -z "${5:-}" ] || openssl ca -config crl.cnf -cert "$2.pem" -keyfile "$2.key" -revoke "$5.pem" 2> log
    openssl ca -gencrl -config crl.cnf -crlexts crl -cert "$2.pem" -keyfile "$2.key" -crl_lastupdate "$3" \
        -crl_nextupdate "$4" -out "$here/x509/$1.crl" 2> log || { cat log; exit 1; }
}

CA='basicConstraints=critical,CA:TRUE|keyUsage=critical,keyCertSign,cRLSign|subjectKeyIdentifier=hash'
LEAF='basicConstraints=critical,CA:FALSE|keyUsage=critical,digitalSignature'
SAN='subjectAltName=DNS:GM2.example.net,DNS:*.wild.example.net,email:Gm2@Example.net,IP:192.0.2.7,IP:2001:db8::7'
ORG='/C=DE/O=Example'

# The good tree: root (RSA) over sub (P-384) over leaves with each kind of key.
rsa root 3072; sign root "$ORG/CN=Root" root "$CA"
ec sub P-384; sign sub "$ORG/CN=Sub" root "$CA"
ec leaf-ec; sign leaf-ec "$ORG/OU=Members/CN=gm2.example.net" sub "$LEAF|$SAN" "" "" sha384
ec leaf-p384 P-384; sign leaf-p384 "$ORG/CN=gm3.example.net" sub "$LEAF"
rsa leaf-rsa
sign leaf-rsa "$ORG/CN=gm4.example.net" sub "$LEAF|subjectAltName=DNS:gm4.example.net|extendedKeyUsage=1.3.6.1.5.5.7.3.17"
ec leaf-root; sign leaf-root "$ORG/CN=direct.example.net" root "$LEAF" "" "" sha512
ec no-usage; sign no-usage "$ORG/CN=plain.example.net" root 'basicConstraints=CA:FALSE'

# Leaves that are wrong in one thing each.
ec expired; sign expired "$ORG/CN=expired" sub "$LEAF" 20240101000000Z 20250101000000Z
ec future; sign future "$ORG/CN=future" sub "$LEAF" 20700101000000Z 20740101000000Z
ec wrong-usage; sign wrong-usage "$ORG/CN=wrong-usage" sub 'basicConstraints=CA:FALSE|keyUsage=critical,keyAgreement'
ec wrong-purpose; sign wrong-purpose "$ORG/CN=wrong-purpose" sub "$LEAF|extendedKeyUsage=codeSigning"
ec critical; sign critical "$ORG/CN=critical" sub "$LEAF|1.2.3.4.5=critical,ASN1:UTF8String:unknown"
ec sha1; sign sha1 "$ORG/CN=sha1" root "$LEAF" "" "" sha1
rsa small 1024; sign small "$ORG/CN=small" sub "$LEAF"
ec self-signed; sign self-signed "$ORG/CN=self-signed" self-signed "$LEAF"
ec self-ca; sign self-ca "$ORG/CN=self-ca" self-ca "$CA"
ec revoked; sign revoked "$ORG/CN=revoked" sub "$LEAF"

# Issuers that are wrong in one thing each, with a leaf below them.
ec not-ca; sign not-ca "$ORG/CN=not-ca" root "$LEAF"
ec below-not-ca; sign below-not-ca "$ORG/CN=below-not-ca" not-ca "$LEAF"
ec no-cert-sign; sign no-cert-sign "$ORG/CN=no-cert-sign" root 'basicConstraints=critical,CA:TRUE|keyUsage=critical,cRLSign'
ec below-no-cert-sign; sign below-no-cert-sign "$ORG/CN=below-no-cert-sign" no-cert-sign "$LEAF"
ec no-crl-sign; sign no-crl-sign "$ORG/CN=no-crl-sign" root 'basicConstraints=critical,CA:TRUE|keyUsage=critical,keyCertSign'
ec below-no-crl-sign; sign below-no-crl-sign "$ORG/CN=below-no-crl-sign" no-crl-sign "$LEAF"
ec short; sign short "$ORG/CN=short" root "$CA|basicConstraints=critical,CA:TRUE,pathlen:0"
ec under-short; sign under-short "$ORG/CN=under-short" short "$CA"
ec below-short; sign below-short "$ORG/CN=below-short" under-short "$LEAF"
ec named; sign named "$ORG/CN=named" root "$CA|nameConstraints=critical,permitted;DNS:example.org"
ec below-named; sign below-named "$ORG/CN=below-named" named "$LEAF|subjectAltName=DNS:gm.example.net"
ec revoked-sub; sign revoked-sub "$ORG/CN=revoked-sub" root "$CA"
ec below-revoked-sub; sign below-revoked-sub "$ORG/CN=below-revoked-sub" revoked-sub "$LEAF"

# Other roots: one of the same name with another key, one that is expired, one that is no CA.
rsa other-root; sign other-root "$ORG/CN=Root" other-root "$CA"
ec old-root; sign old-root "$ORG/CN=Old Root" old-root "$CA" 20000101000000Z 20200101000000Z
ec below-old-root; sign below-old-root "$ORG/CN=below-old-root" old-root "$LEAF"

# CRLs: of both issuers of the good tree; too old; older but complete; without the right to sign them; forged.
crl sub-older sub 20240101000000Z 20730101000000Z
crl sub sub 20250101000000Z 20730101000000Z revoked
crl sub-stale sub 20240101000000Z 20250101000000Z
crl root root 20250101000000Z 20730101000000Z revoked-sub
crl no-crl-sign no-crl-sign 20250101000000Z 20730101000000Z
cp root.pem true-root.pem; cp other-root.pem forged.pem; cp other-root.key forged.key
crl root-forged forged 20250101000000Z 20730101000000Z

openssl x509 -in root.pem -outform DER -out "$here/x509/root.der"
openssl crl -in "$here/x509/root.crl" -outform DER -out "$here/x509/root.crl.der"
cat leaf-ec.pem sub.pem > "$here/x509/chain.pem"

# Private keys in each form that is read, and some that are refused.
cd "$here/keys"
cp "$work/leaf-rsa.key" rsa-pkcs8.pem
openssl rsa -in rsa-pkcs8.pem -traditional -out rsa-pkcs1.pem 2> "$work/log"
openssl rsa -in rsa-pkcs8.pem -traditional -aes128 -passout pass:secret -out rsa-pkcs1-encrypted.pem 2> "$work/log"
openssl pkcs8 -topk8 -in rsa-pkcs8.pem -passout pass:secret -out rsa-pkcs8-encrypted.pem
cp "$work/leaf-ec.key" p256-pkcs8.pem
cp "$work/leaf-p384.key" p384-pkcs8.pem
openssl ecparam -name prime256v1 -genkey -out p256-sec1.pem # with an EC PARAMETERS block in front
openssl ecparam -name secp384r1 -genkey -noout -out p384-sec1.pem
openssl ecparam -name secp521r1 -genkey -noout -out p521-sec1.pem
openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_keygen_pubexp:3 -out rsa-e3.pem
openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out rsa-1024.pem
openssl genpkey -quiet -algorithm ED25519 -out ed25519.pem

# What OpenSSL signs with them: "name.hash.sig" over the file message.
printf 'Members and their key server.' > message
for name in rsa-pkcs8 rsa-e3 rsa-1024; do
    openssl pkey -in "$name.pem" -pubout -outform DER -out "$name.spki"
    for hash in sha1 sha256 sha384 sha512; do
        openssl dgst -$hash -sign "$name.pem" -out "$name.$hash.sig" message
    done
    # PKCS#1 v1.5 without a DigestInfo, over the message's SHA-1.
    openssl dgst -sha1 -binary message > "$work/digest"
    openssl pkeyutl -sign -inkey "$name.pem" -in "$work/digest" -pkeyopt rsa_padding_mode:pkcs1 -out "$name.raw.sig"
done
