//! Numbers of the IPsec DOI (RFC 2407, and the registry that follows it).

use super::open_enum;

open_enum! {
    /// Security Protocol Identifiers (RFC 2407 section 4.4.1). A SAT, and a Delete in a GROUPKEY-PUSH, have
    /// those of [`GdoiProtocol`](super::GdoiProtocol) instead.
    ProtocolId: u8 {
        Isakmp = 1 "PROTO_ISAKMP",
        Ah = 2 "PROTO_IPSEC_AH",
        Esp = 3 "PROTO_IPSEC_ESP",
        Ipcomp = 4 "PROTO_IPCOMP",
    }
}

open_enum! {
    /// Identification Type (RFC 2407 section 4.6.2.1, RFC 3554, RFC 8052 section 2.1).
    IdType: u8 {
        Ipv4Addr = 1 "ID_IPV4_ADDR",
        Fqdn = 2 "ID_FQDN",
        UserFqdn = 3 "ID_USER_FQDN",
        Ipv4AddrSubnet = 4 "ID_IPV4_ADDR_SUBNET",
        Ipv6Addr = 5 "ID_IPV6_ADDR",
        Ipv6AddrSubnet = 6 "ID_IPV6_ADDR_SUBNET",
        Ipv4AddrRange = 7 "ID_IPV4_ADDR_RANGE",
        Ipv6AddrRange = 8 "ID_IPV6_ADDR_RANGE",
        DerAsn1Dn = 9 "ID_DER_ASN1_DN",
        DerAsn1Gn = 10 "ID_DER_ASN1_GN",
        KeyId = 11 "ID_KEY_ID",
        List = 12 "ID_LIST",
        Oid = 13 "ID_OID",
    }
}

open_enum! {
    /// ESP Transform Identifiers (RFC 2407 section 4.4.4; RFC 3602, 4106, 4309, 4543).
    EspTransform: u8 {
        DesIv64 = 1 "ESP_DES_IV64",
        Des = 2 "ESP_DES",
        TripleDes = 3 "ESP_3DES",
        Rc5 = 4 "ESP_RC5",
        Idea = 5 "ESP_IDEA",
        Cast = 6 "ESP_CAST",
        Blowfish = 7 "ESP_BLOWFISH",
        TripleIdea = 8 "ESP_3IDEA",
        DesIv32 = 9 "ESP_DES_IV32",
        Rc4 = 10 "ESP_RC4",
        Null = 11 "ESP_NULL",
        AesCbc = 12 "ESP_AES-CBC",
        AesCtr = 13 "ESP_AES-CTR",
        AesCcm8 = 14 "ESP_AES-CCM_8",
        AesCcm12 = 15 "ESP_AES-CCM_12",
        AesCcm16 = 16 "ESP_AES-CCM_16",
        AesGcm8 = 18 "ESP_AES-GCM_8",
        AesGcm12 = 19 "ESP_AES-GCM_12",
        AesGcm16 = 20 "ESP_AES-GCM_16",
        Seed = 21 "ESP_SEED_CBC",
        Camellia = 22 "ESP_CAMELLIA",
        NullAuthAesGmac = 23 "ESP_NULL_AUTH_AES-GMAC",
    }
}

open_enum! {
    /// AH Transform Identifiers (RFC 2407 section 4.4.3; RFC 4868, 4543).
    AhTransform: u8 {
        Md5 = 2 "AH_MD5",
        Sha = 3 "AH_SHA",
        Des = 4 "AH_DES",
        Sha256 = 5 "AH_SHA2-256",
        Sha384 = 6 "AH_SHA2-384",
        Sha512 = 7 "AH_SHA2-512",
        Ripemd = 8 "AH_RIPEMD",
        AesXcbcMac = 9 "AH_AES-XCBC-MAC",
        Rsa = 10 "AH_RSA",
        Aes128Gmac = 11 "AH_AES-128-GMAC",
        Aes192Gmac = 12 "AH_AES-192-GMAC",
        Aes256Gmac = 13 "AH_AES-256-GMAC",
    }
}

open_enum! {
    /// IPsec Security Association Attributes (RFC 2407 section 4.5; RFC 6407 section 8.2 for the last two).
    IpsecAttribute: u16 {
        LifeType = 1 "SA Life Type",
        LifeDuration = 2 "SA Life Duration",
        GroupDescription = 3 "Group Description",
        EncapsulationMode = 4 "Encapsulation Mode",
        AuthAlgorithm = 5 "Authentication Algorithm",
        KeyLength = 6 "Key Length",
        KeyRounds = 7 "Key Rounds",
        CompressDictionarySize = 8 "Compress Dictionary Size",
        CompressPrivateAlgorithm = 9 "Compress Private Algorithm",
        EcnTunnel = 10 "ECN Tunnel",
        ExtendedSequenceNumber = 11 "Extended (64-bit) Sequence Number",
        AuthKeyLength = 12 "Authentication Key Length",
        SignatureEncoding = 13 "Signature Encoding Algorithm",
        AddressPreservation = 14 "Address Preservation",
        SaDirection = 15 "SA Direction",
    }
}

open_enum! {
    /// SA Life Type (RFC 2407 section 4.5, RFC 2409 appendix A): what a life duration counts.
    LifeType: u16 {
        Seconds = 1 "seconds",
        Kilobytes = 2 "kilobytes",
    }
}

open_enum! {
    /// Encapsulation Mode (RFC 2407 section 4.5, RFC 3947 section 5.1).
    EncapsulationMode: u16 {
        Tunnel = 1 "Tunnel",
        Transport = 2 "Transport",
        UdpTunnel = 3 "UDP-Encapsulated-Tunnel",
        UdpTransport = 4 "UDP-Encapsulated-Transport",
    }
}

open_enum! {
    /// Authentication Algorithm (RFC 2407 section 4.5; RFC 4868, 3566, 4543).
    AuthAlgorithm: u16 {
        HmacMd5 = 1 "HMAC-MD5",
        HmacSha1 = 2 "HMAC-SHA",
        DesMac = 3 "DES-MAC",
        Kpdk = 4 "KPDK",
        HmacSha256 = 5 "HMAC-SHA2-256",
        HmacSha384 = 6 "HMAC-SHA2-384",
        HmacSha512 = 7 "HMAC-SHA2-512",
        HmacRipemd = 8 "HMAC-RIPEMD",
        AesXcbcMac = 9 "AES-XCBC-MAC",
        SigRsa = 10 "SIG-RSA",
        Aes128Gmac = 11 "AES-128-GMAC",
        Aes192Gmac = 12 "AES-192-GMAC",
        Aes256Gmac = 13 "AES-256-GMAC",
    }
}

open_enum! {
    /// Address Preservation (RFC 6407 section 5.5.1.1.1). Source-and-Destination where it is absent.
    AddressPreservation: u16 {
        None = 1 "None",
        SourceOnly = 2 "Source-Only",
        DestinationOnly = 3 "Destination-Only",
        SourceAndDestination = 4 "Source-and-Destination",
    }
}

open_enum! {
    /// SA Direction (RFC 6407 section 5.5.1.1.2). Symmetric where it is absent.
    SaDirection: u16 {
        SenderOnly = 1 "Sender-Only",
        ReceiverOnly = 2 "Receiver-Only",
        Symmetric = 3 "Symmetric",
    }
}
