#!/bin/sh
# Makes dh-modp.txt: exchanges in the MODP groups as OpenSSL computes them, private values of the lengths that this
# crate uses. Each line: group, private value, public value, peer's public value, shared secret (hex). The last
# line of each group below 3072 bits is one whose shared secret begins with a zero octet.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

# The modulus of group 2, which OpenSSL does not know by name, in this crate's own table (RFC 2409 section 6.2).
prime=$(sed -n '/PRIME_1024/,/;/p' "$here/../dh/primes.rs" | grep -oE '[0-9A-F]{32,}' | tr -d '\n')
# OpenSSL would draw 1024 bits, so the private value is put into a PKCS#8 key; OpenSSL computes the public one.
group2() { # NAME BITS
    {
        printf 'asn1=SEQUENCE:key\n[key]\nversion=INTEGER:0\nalgorithm=SEQUENCE:algorithm\n'
        printf 'private=OCTWRAP,INTEGER:0x%s\n' "$(openssl rand -hex $(($2 / 8)))"
        printf '[algorithm]\noid=OID:dhKeyAgreement\nparameters=SEQUENCE:parameters\n'
        printf '[parameters]\np=INTEGER:0x%s\ng=INTEGER:2\n' "$prime"
    } > group2.cnf
    openssl asn1parse -genconf group2.cnf -noout -out group2.der
    openssl pkey -inform DER -in group2.der -out "$1.pem"
}

generate() { # NAME GROUP BITS OPENSSL-NAME
    if [ "$2" = 2 ]; then
        group2 "$1" "$3"
    else
        openssl genpkey -algorithm DH -pkeyopt group:"$4" -pkeyopt priv_len:"$3" -out "$1.pem"
    fi
    openssl pkey -in "$1.pem" -pubout -out "$1.pub"
    openssl pkey -in "$1.pem" -noout -text > "$1.txt"
}
field() { # FILE FIELD OCTETS: the number, padded
    number=$(awk -v want="$2:" '/^ *[a-zA-Z-]+: *$/ { on = ($1 == want) } on' "$1" | grep -E '^ +[0-9a-f]{2}(:|$)' | tr -d ' :\n')
    printf '%s' "$number" | awk -v n=$(($3 * 2)) '{ s = $0; while (length(s) > n) s = substr(s, 3); while (length(s) < n) s = "0" s; print s }'
}
exchange() { # GROUP OCTETS SECRET: own side is a, the peer is b
    printf '%s %s %s %s %s\n' "$1" "$(field a.txt private-key $((BITS / 8)))" "$(field a.txt public-key "$2")" \
        "$(field b.txt public-key "$2")" "$3"
}
derive() { openssl pkeyutl -derive -inkey a.pem -peerkey b.pub -pkeyopt pad:1 | od -An -v -tx1 | tr -d ' \n'; }

{
    echo "# Diffie-Hellman: group, private value, public value, peer's public value, shared secret (hex)."
    echo "# Computed by $(openssl version | cut -d' ' -f1,2), see make-dh-modp.sh."
    for group in 2:1024:256: 5:1536:256:modp_1536 14:2048:256:modp_2048 15:3072:320:modp_3072 16:4096:320:modp_4096; do
        IFS=: read -r number modulus BITS name <<EOF
$group
EOF
        for _ in 1 2; do
            generate a "$number" "$BITS" "$name"
            generate b "$number" "$BITS" "$name"
            exchange "$number" $((modulus / 8)) "$(derive)"
        done
        [ "$modulus" -lt 3072 ] || continue
        while secret=$(derive); [ "${secret#00}" = "$secret" ]; do
            generate b "$number" "$BITS" "$name"
        done
        exchange "$number" $((modulus / 8)) "$secret"
    done
} > "$here/dh-modp.txt"
