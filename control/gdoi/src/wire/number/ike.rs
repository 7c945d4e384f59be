//! Numbers of IKEv1 phase 1 (RFC 2409 appendix A, and the registry that follows it).

use super::open_enum;

open_enum! {
    /// Phase 1 attribute classes (RFC 2409 appendix A).
    IkeAttribute: u16 {
        Encryption = 1 "Encryption Algorithm",
        Hash = 2 "Hash Algorithm",
        AuthMethod = 3 "Authentication Method",
        Group = 4 "Group Description",
        GroupType = 5 "Group Type",
        GroupPrime = 6 "Group Prime/Irreducible Polynomial",
        GroupGeneratorOne = 7 "Group Generator One",
        GroupGeneratorTwo = 8 "Group Generator Two",
        GroupCurveA = 9 "Group Curve A",
        GroupCurveB = 10 "Group Curve B",
        LifeType = 11 "Life Type",
        LifeDuration = 12 "Life Duration",
        Prf = 13 "PRF",
        KeyLength = 14 "Key Length",
        FieldSize = 15 "Field Size",
        GroupOrder = 16 "Group Order",
    }
}

open_enum! {
    /// Encryption Algorithm (RFC 2409 appendix A; RFC 3602 for AES).
    IkeCipher: u16 {
        DesCbc = 1 "DES-CBC",
        IdeaCbc = 2 "IDEA-CBC",
        BlowfishCbc = 3 "Blowfish-CBC",
        Rc5Cbc = 4 "RC5-R16-B64-CBC",
        TripleDesCbc = 5 "3DES-CBC",
        CastCbc = 6 "CAST-CBC",
        AesCbc = 7 "AES-CBC",
        CamelliaCbc = 8 "CAMELLIA-CBC",
    }
}

open_enum! {
    /// Hash Algorithm (RFC 2409 appendix A; RFC 4868 for SHA-2).
    IkeHash: u16 {
        Md5 = 1 "MD5",
        Sha1 = 2 "SHA",
        Tiger = 3 "Tiger",
        Sha256 = 4 "SHA2-256",
        Sha384 = 5 "SHA2-384",
        Sha512 = 6 "SHA2-512",
    }
}

open_enum! {
    /// Authentication Method (RFC 2409 appendix A; RFC 4754 for ECDSA).
    AuthMethod: u16 {
        PreSharedKey = 1 "pre-shared key",
        DssSignature = 2 "DSS signatures",
        RsaSignature = 3 "RSA signatures",
        RsaEncryption = 4 "Encryption with RSA",
        RevisedRsaEncryption = 5 "Revised encryption with RSA",
        Ecdsa256 = 9 "ECDSA with SHA-256 on the P-256 curve",
        Ecdsa384 = 10 "ECDSA with SHA-384 on the P-384 curve",
        Ecdsa521 = 11 "ECDSA with SHA-512 on the P-521 curve",
    }
}

open_enum! {
    /// Group Description (RFC 2409 section 6, RFC 3526, RFC 5903).
    IkeGroup: u16 {
        Modp768 = 1 "768-bit MODP group",
        Modp1024 = 2 "1024-bit MODP group",
        Ec2n155 = 3 "EC2N group on GP[2^155]",
        Ec2n185 = 4 "EC2N group on GP[2^185]",
        Modp1536 = 5 "1536-bit MODP group",
        Modp2048 = 14 "2048-bit MODP group",
        Modp3072 = 15 "3072-bit MODP group",
        Modp4096 = 16 "4096-bit MODP group",
        Modp6144 = 17 "6144-bit MODP group",
        Modp8192 = 18 "8192-bit MODP group",
        Ecp256 = 19 "256-bit random ECP group",
        Ecp384 = 20 "384-bit random ECP group",
        Ecp521 = 21 "521-bit random ECP group",
    }
}
