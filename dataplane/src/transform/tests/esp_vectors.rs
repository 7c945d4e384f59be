//! Whole ESP packets made by others: AES-GCM and AES-GMAC from draft-mcgrew-gcm-test-01, ChaCha20-
//! Poly1305 from RFC 7634 appendix A, AES-CBC from RFC 3602 section 4. Tests only.

use super::super::cbc_hmac::{Block, decrypt};
use super::super::{Cipher, Transform};
use super::{hex, open, packet, seal, text};

struct Packet {
    transform: Transform,
    keymat: &'static str,
    header: &'static str,
    iv: u64,
    plaintext: &'static str,
    sealed: &'static str,
}

/// Those without extended sequence numbers, which the data plane does not use.
const PACKETS: &[Packet] = &[
    Packet {
        transform: Transform::Aes128Gcm,
        keymat: "feffe9928665731c6d6a8f9467308308 cafebabe",
        header: "0000a5f80000000a",
        iv: 0xface_dbad_deca_f888,
        plaintext: "4500003e698f000080114dccc0a80102c0a801010a980035002a2343b2d00100
            00010000000000000373697009637962 65726369747902646b00000100010001",
        sealed: "0000a5f80000000afacedbaddecaf888
            deb22cd9b07c72c16e3a65beeb8df304a5a5897d33ae530f1ba76d5d114d2a5c
            3de81827c10e9a4f51330d0eec416642cfbb85a5b47e48a4ec3b9ba95d918bd1
            83b70d3aa8bc6ee4c309e9d85a41ad4a",
    },
    Packet {
        transform: Transform::Aes256Gcm,
        keymat: "abbccddef00112233445566778899aababbccddef00112233445566778899aab 11223344",
        header: "4a2cbfe300000002",
        iv: 0x0102_0304_0506_0708,
        plaintext: "4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee000000000
            7002400020bf0000020405b40101040201020201",
        sealed: "4a2cbfe3000000020102030405060708
            ff425c9b724599df7a3bcd510194e00d6a78107f1b0b1cbf06efae9d65a5d763
            748a637985771d347f0545659f14e99def842d8eb335f4eecfdbf831824b4c49
            15956c96",
    },
    Packet {
        transform: Transform::Aes128Gcm,
        keymat: "00000000000000000000000000000000 00000000",
        header: "0000000000000001",
        iv: 0,
        plaintext: "4500003c99c500008001cb7a40679318010101010800075c0200440061626364
            65666768696a6b6c6d6e6f707172737475767761626364656667686901020201",
        sealed: "00000000000000010000000000000000
            4688daf2f973a392732909c331d56d60f694abaa414b5e7ff5fdcdfff5e9a284
            456476492719ffb64de7d9dca1e1d894bc3bd57873ed4d181d19d4d5c8c18af3
            f821d496eeb096e98ad2b69e4799c71d",
    },
    Packet {
        transform: Transform::Aes128Gcm,
        keymat: "7d773d00c144c525ac619d18c84a3f47 d9664267",
        header: "335467aeffffffff",
        iv: 0x4345_7e91_8244_3bc6,
        plaintext: "01020201",
        sealed: "335467aeffffffff43457e9182443bc6 437f866b cb3f699fe9b0822bac961c4504bef270",
    },
    Packet {
        transform: Transform::Aes128Gmac,
        keymat: "4c80cdefbb5d10da906ac73c3613a634 22433c64",
        header: "0000432100000007",
        iv: 0,
        plaintext: "45000030da3a00008001df3bc0a80005c0a800010800c6cd0200070061626364
            65666768696a6b6c6d6e6f707172737401020201",
        sealed: "00004321000000070000000000000000
            45000030da3a00008001df3bc0a80005c0a800010800c6cd0200070061626364
            65666768696a6b6c6d6e6f707172737401020201
            f2a9a836e155106aa8dcd618e4099aaa",
    },
    Packet {
        transform: Transform::ChaCha20Poly1305,
        keymat: "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f a0a1a2a3",
        header: "0102030400000005",
        iv: 0x1011_1213_1415_1617,
        plaintext: "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec10
            0007362708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223
            2425262728292a2b2c2d2e2f303132333435363701020204",
        sealed: "01020304000000051011121314151617
            24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c6
            14ee8099d52844eb61aa95dfab4c02f72aa71e7c4c4f64c9befe2facc638e8f3
            cbec163fac469b502773f6fb94e664da9165b82829f641e0
            76aaa8266b7fb0f7b11b369907e1ad43",
    },
];

#[test]
fn combined_modes_make_and_open_the_packets_of_the_rfcs() {
    assert_eq!(PACKETS.len(), 6);
    for p in PACKETS {
        let name = p.transform;
        let cipher = Cipher::new(p.transform, &hex(p.keymat), &[]).expect("keys");
        let mut esp = packet(p.transform, &hex(p.plaintext));
        esp[..8].copy_from_slice(&hex(p.header));
        assert!(seal(&cipher, &mut esp, p.iv), "{name}");
        assert_eq!(esp, hex(p.sealed), "{name}");
        assert!(open(&cipher, &mut esp), "{name}");
        assert_eq!(text(p.transform, &esp), hex(p.plaintext), "{name}");
    }
}

/// Key, whole ESP packet without an ICV, payload, next header.
const CBC_PACKETS: &[(&str, &str, &str, u8)] = &[
    (
        "90d382b410eeba7ad938c46cec1a82bf",
        "0000432100000001e96e8c08ab465763fd098d45dd3ff893
         f663c25d325c18c6a9453e194e120849a4870b66cc6b9965330013b4898dc856
         a4699e523a55db080b59ec3a8e4b7e52775b07d1db34ed9c538ab50c551b874a
         a269add047ad2d5913ac19b7cfbad4a6",
        "08000ebda70a00008e9c083db95b070008090a0b0c0d0e0f1011121314151617
         18191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637",
        1,
    ),
    (
        "90d382b410eeba7ad938c46cec1a82bf",
        "000043210000000869d08df7d203329db093fc4924e5bd80
         f51995881ec4e0c4488987ce742e8109689bb379d2d750c0d915dca346a89f75",
        "0800b5e8a80a0500a69c083d0b660e00777777777777777777777777",
        1,
    ),
    (
        "0123456789abcdef0123456789abcdef",
        "0000876500000002f4e765244f6407adf13dc1380f673f37
         773b5241a4c449225e4f3ce5ed611b0c237ca96cf74a93013c1b0ea1a0cf70f8
         e4ecaec78ac53aad7a0f022b859243c647752e94a859352b8a4d4d2decd136e5
         c177f132ad3fbfb2201ac9904c74ee0a109e0ca1e4dfe9d5a100b842f1c22f0d",
        "45000054090400004001f988c0a87b03c0a87bc808009f76a90a0100b49c083d
         02a2040008090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223
         2425262728292a2b2c2d2e2f3031323334353637",
        4,
    ),
    (
        "0123456789abcdef0123456789abcdef",
        "000087650000000585d47224b5f3dd5d2101d4ea8dffab22
         15b92683819596a8047232cc00f7048fe45318e11f8a0f62ede3c3fc61203bb5
         0f980a08c9843fd3a1b06d5c07ff9639b7eb7dfb3512e5de435e7207ed971ef3
         d2726d9b5ef6affc6d17a0decbb13892",
        "45000044090c00004001f990c0a87b03c0a87bc80800d63caa0a0200c69c083d
         a3de0300ffffffffffffffffffffffffffffffffffffffffffffffffffffffff
         ffffffff",
        4,
    ),
];

/// The packets of RFC 3602 have no ICV, so each is given the one that ESP would have, computed
/// here by ring, and must then open.
#[test]
fn aes_cbc_opens_the_packets_of_rfc_3602() {
    use aes::cipher::KeyInit as _;

    assert_eq!(CBC_PACKETS.len(), 4);
    for (key, esp, payload, next_header) in CBC_PACKETS {
        let (key, esp) = (hex(key), hex(esp));
        let mut plaintext = hex(payload);
        let pad = (16 - (plaintext.len() + 2) % 16) % 16;
        plaintext.extend(1..=u8::try_from(pad).expect("below 16"));
        plaintext.extend([u8::try_from(pad).expect("below 16"), *next_header]);

        let aes = aes::Aes128::new_from_slice(&key).expect("a key");
        let iv = Block::try_from(&esp[8..24]).expect("16 octets");
        let mut blocks: Vec<Block> =
            esp[24..].as_chunks::<16>().0.iter().map(|block| Block::from(*block)).collect();
        decrypt(&aes, &iv, &mut blocks);
        assert_eq!(Block::slice_as_flattened(&blocks), plaintext);

        for (transform, algorithm) in [
            (Transform::Aes128CbcHmacSha256, ring::hmac::HMAC_SHA256),
            (Transform::Aes128CbcHmacSha1, ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        ] {
            let integrity_key = vec![0x42; transform.integrity_key_len()];
            let tag = ring::hmac::sign(&ring::hmac::Key::new(algorithm, &integrity_key), &esp);
            let mut esp = esp.clone();
            esp.extend_from_slice(&tag.as_ref()[..transform.icv_len()]);
            let cipher = Cipher::new(transform, &key, &integrity_key).expect("keys");
            assert!(open(&cipher, &mut esp), "{transform}");
            assert_eq!(text(transform, &esp), plaintext, "{transform}");
        }
    }
}
