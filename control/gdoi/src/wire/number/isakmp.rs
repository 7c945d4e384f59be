//! Numbers of ISAKMP itself (RFC 2408).

use super::open_enum;

open_enum! {
    /// Next Payload (RFC 2408 section 3.1, RFC 6407 section 5, RFC 3947 for NAT-D and NAT-OA).
    PayloadType: u8 {
        None = 0 "NONE",
        Sa = 1 "SA",
        Proposal = 2 "P",
        Transform = 3 "T",
        KeyExchange = 4 "KE",
        Identification = 5 "ID",
        Certificate = 6 "CERT",
        CertificateRequest = 7 "CR",
        Hash = 8 "HASH",
        Signature = 9 "SIG",
        Nonce = 10 "NONCE",
        Notify = 11 "N",
        Delete = 12 "D",
        VendorId = 13 "VID",
        Sak = 15 "SAK",
        Sat = 16 "SAT",
        KeyDownload = 17 "KD",
        Sequence = 18 "SEQ",
        Pop = 19 "POP",
        NatD = 20 "NAT-D",
        NatOa = 21 "NAT-OA",
        Gap = 22 "GAP",
    }
}

open_enum! {
    /// Exchange Type (RFC 2408 section 3.1, RFC 6407 section 8, RFC 8263 section 8).
    ///
    /// 32 is also quick mode's number under the IPsec DOI (RFC 2409 section 5.5); GDOI runs on its own
    /// port, where it is always GROUPKEY-PULL.
    ExchangeType: u8 {
        Base = 1 "Base",
        IdentityProtection = 2 "Identity Protection",
        AuthenticationOnly = 3 "Authentication Only",
        Aggressive = 4 "Aggressive",
        Informational = 5 "Informational",
        GroupkeyPull = 32 "GROUPKEY-PULL",
        GroupkeyPush = 33 "GROUPKEY-PUSH",
        GroupkeyPushAck = 35 "GROUPKEY-PUSH-ACK",
    }
}

open_enum! {
    /// Domain of Interpretation (RFC 2408 section 3.4, RFC 2407 section 4.1, RFC 6407 section 5.2).
    Doi: u32 {
        Isakmp = 0 "ISAKMP",
        Ipsec = 1 "IPsec",
        Gdoi = 2 "GDOI",
    }
}

open_enum! {
    /// Notify Message Type (RFC 2408 section 3.14.1, RFC 2407 section 4.6.3, RFC 3706 section 5.2).
    NotifyType: u16 {
        InvalidPayloadType = 1 "INVALID-PAYLOAD-TYPE",
        DoiNotSupported = 2 "DOI-NOT-SUPPORTED",
        SituationNotSupported = 3 "SITUATION-NOT-SUPPORTED",
        InvalidCookie = 4 "INVALID-COOKIE",
        InvalidMajorVersion = 5 "INVALID-MAJOR-VERSION",
        InvalidMinorVersion = 6 "INVALID-MINOR-VERSION",
        InvalidExchangeType = 7 "INVALID-EXCHANGE-TYPE",
        InvalidFlags = 8 "INVALID-FLAGS",
        InvalidMessageId = 9 "INVALID-MESSAGE-ID",
        InvalidProtocolId = 10 "INVALID-PROTOCOL-ID",
        InvalidSpi = 11 "INVALID-SPI",
        InvalidTransformId = 12 "INVALID-TRANSFORM-ID",
        AttributesNotSupported = 13 "ATTRIBUTES-NOT-SUPPORTED",
        NoProposalChosen = 14 "NO-PROPOSAL-CHOSEN",
        BadProposalSyntax = 15 "BAD-PROPOSAL-SYNTAX",
        PayloadMalformed = 16 "PAYLOAD-MALFORMED",
        InvalidKeyInformation = 17 "INVALID-KEY-INFORMATION",
        InvalidIdInformation = 18 "INVALID-ID-INFORMATION",
        InvalidCertEncoding = 19 "INVALID-CERT-ENCODING",
        InvalidCertificate = 20 "INVALID-CERTIFICATE",
        CertTypeUnsupported = 21 "CERT-TYPE-UNSUPPORTED",
        InvalidCertAuthority = 22 "INVALID-CERT-AUTHORITY",
        InvalidHashInformation = 23 "INVALID-HASH-INFORMATION",
        AuthenticationFailed = 24 "AUTHENTICATION-FAILED",
        InvalidSignature = 25 "INVALID-SIGNATURE",
        AddressNotification = 26 "ADDRESS-NOTIFICATION",
        NotifySaLifetime = 27 "NOTIFY-SA-LIFETIME",
        CertificateUnavailable = 28 "CERTIFICATE-UNAVAILABLE",
        UnsupportedExchangeType = 29 "UNSUPPORTED-EXCHANGE-TYPE",
        UnequalPayloadLengths = 30 "UNEQUAL-PAYLOAD-LENGTHS",
        Connected = 16384 "CONNECTED",
        ResponderLifetime = 24576 "RESPONDER-LIFETIME",
        ReplayStatus = 24577 "REPLAY-STATUS",
        InitialContact = 24578 "INITIAL-CONTACT",
        RUThere = 36136 "R-U-THERE",
        RUThereAck = 36137 "R-U-THERE-ACK",
    }
}

open_enum! {
    /// Certificate encoding (RFC 2408 section 3.9).
    CertEncoding: u8 {
        None = 0 "NONE",
        Pkcs7 = 1 "PKCS #7 wrapped X.509 certificate",
        Pgp = 2 "PGP Certificate",
        Dns = 3 "DNS Signed Key",
        X509Signature = 4 "X.509 Certificate - Signature",
        X509KeyExchange = 5 "X.509 Certificate - Key Exchange",
        Kerberos = 6 "Kerberos Tokens",
        Crl = 7 "Certificate Revocation List (CRL)",
        Arl = 8 "Authority Revocation List (ARL)",
        Spki = 9 "SPKI Certificate",
        X509Attribute = 10 "X.509 Certificate - Attribute",
    }
}
