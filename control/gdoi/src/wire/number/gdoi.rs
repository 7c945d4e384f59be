//! Numbers of the GDOI DOI (RFC 6407, RFC 3547, RFC 8052, RFC 8263).

use super::open_enum;

open_enum! {
    /// Protocol-ID of a SAT (RFC 6407 section 5.5, RFC 8052 section 2.2) and of a Delete in a
    /// GROUPKEY-PUSH, where zero is the KEK (RFC 6407 section 5.9).
    GdoiProtocol: u8 {
        Kek = 0 "KEK",
        Esp = 1 "GDOI_PROTO_IPSEC_ESP",
        Ah = 2 "GDOI_PROTO_IPSEC_AH",
        Iec61850 = 3 "GDOI_PROTO_IEC_61850",
    }
}

open_enum! {
    /// KEK attribute classes of a SAK (RFC 6407 section 5.3; RFC 3547 section 5.3 for KE_OAKLEY_GROUP;
    /// RFC 8263 section 2 for KEK_ACK_REQUESTED).
    KekAttribute: u16 {
        ManagementAlgorithm = 1 "KEK_MANAGEMENT_ALGORITHM",
        Algorithm = 2 "KEK_ALGORITHM",
        KeyLength = 3 "KEK_KEY_LENGTH",
        KeyLifetime = 4 "KEK_KEY_LIFETIME",
        SigHash = 5 "SIG_HASH_ALGORITHM",
        SigAlgorithm = 6 "SIG_ALGORITHM",
        SigKeyLength = 7 "SIG_KEY_LENGTH",
        KeOakleyGroup = 8 "KE_OAKLEY_GROUP",
        AckRequested = 9 "KEK_ACK_REQUESTED",
    }
}

open_enum! {
    /// KEK_MANAGEMENT_ALGORITHM (RFC 6407 section 5.3.1).
    KekManagement: u16 {
        Lkh = 1 "LKH",
    }
}

open_enum! {
    /// KEK_ALGORITHM (RFC 6407 section 5.3.2), all in CBC mode.
    KekAlgorithm: u16 {
        Des = 1 "KEK_ALG_DES",
        TripleDes = 2 "KEK_ALG_3DES",
        Aes = 3 "KEK_ALG_AES",
    }
}

open_enum! {
    /// SIG_HASH_ALGORITHM (RFC 6407 section 5.3.5).
    SigHash: u16 {
        Md5 = 1 "SIG_HASH_MD5",
        Sha1 = 2 "SIG_HASH_SHA1",
        Sha256 = 3 "SIG_HASH_SHA256",
        Sha384 = 4 "SIG_HASH_SHA384",
        Sha512 = 5 "SIG_HASH_SHA512",
    }
}

open_enum! {
    /// SIG_ALGORITHM (RFC 6407 section 5.3.6).
    SigAlgorithm: u16 {
        Rsa = 1 "SIG_ALG_RSA",
        Dss = 2 "SIG_ALG_DSS",
        Ecdss = 3 "SIG_ALG_ECDSS",
        Ecdsa256 = 4 "SIG_ALG_ECDSA-256",
        Ecdsa384 = 5 "SIG_ALG_ECDSA-384",
        Ecdsa521 = 6 "SIG_ALG_ECDSA-521",
    }
}

open_enum! {
    /// KEK_ACK_REQUESTED (RFC 8263 section 2).
    AckRequest: u16 {
        KekSha256 = 1 "REKEY_ACK_KEK_SHA256",
        LkhSha256 = 2 "REKEY_ACK_LKH_SHA256",
        KekSha512 = 3 "REKEY_ACK_KEK_SHA512",
        LkhSha512 = 4 "REKEY_ACK_LKH_SHA512",
    }
}

open_enum! {
    /// Attribute classes of a GAP (RFC 6407 section 5.4). Delays are in seconds. 128 to 255 are for private
    /// use: the last is this project's own, between peers that announce its Vendor ID.
    GapAttribute: u16 {
        ActivationTimeDelay = 1 "ACTIVATION_TIME_DELAY",
        DeactivationTimeDelay = 2 "DEACTIVATION_TIME_DELAY",
        SenderIdRequest = 3 "SENDER_ID_REQUEST",
        SpiKey = 128 "SPI_KEY",
    }
}

open_enum! {
    /// Key Download Type (RFC 6407 section 5.6).
    KdType: u8 {
        Tek = 1 "TEK",
        Kek = 2 "KEK",
        Lkh = 3 "LKH",
        Sid = 4 "SID",
    }
}

open_enum! {
    /// Attribute classes of a TEK key packet (RFC 6407 section 5.6.1).
    TekKeyAttribute: u16 {
        AlgorithmKey = 1 "TEK_ALGORITHM_KEY",
        IntegrityKey = 2 "TEK_INTEGRITY_KEY",
        SourceAuthKey = 3 "TEK_SOURCE_AUTH_KEY",
    }
}

open_enum! {
    /// Attribute classes of a KEK key packet (RFC 6407 section 5.6.2).
    KekKeyAttribute: u16 {
        AlgorithmKey = 1 "KEK_ALGORITHM_KEY",
        SigKey = 2 "SIG_ALGORITHM_KEY",
    }
}

open_enum! {
    /// Attribute classes of an LKH key packet (RFC 6407 section 5.6.3).
    LkhKeyAttribute: u16 {
        DownloadArray = 1 "LKH_DOWNLOAD_ARRAY",
        UpdateArray = 2 "LKH_UPDATE_ARRAY",
        SigKey = 3 "SIG_ALGORITHM_KEY",
    }
}

open_enum! {
    /// Attribute classes of a SID key packet (RFC 6407 section 5.6.4).
    SidAttribute: u16 {
        NumberOfSidBits = 1 "NUMBER_OF_SID_BITS",
        SidValue = 2 "SID_VALUE",
    }
}
