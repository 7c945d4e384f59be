//! AES-GCM vectors from "The Galois/Counter Mode of Operation" (McGrew, Viega; its appendix B) and
//! from NIST's CAVP (gcmEncryptExtIV128.rsp, gcmEncryptExtIV256.rsp), those with no plaintext being
//! GMAC vectors too; RFC 7634 appendix B for ChaCha20-Poly1305. Tests only.

use proptest::collection::vec;
use proptest::prelude::*;
use ring::aead::{AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305};

use super::super::aead::AeadKey;
use super::super::gmac::GmacKey;
use super::{hex, hex_array};

struct Vector {
    source: &'static str,
    key: &'static str,
    nonce: &'static str,
    aad: &'static str,
    plaintext: &'static str,
    ciphertext: &'static str,
    tag: &'static str,
}

const GCM_PLAINTEXT: &str = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
    1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255";
const GCM_PLAINTEXT_60: &str = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
    1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
const GCM_AAD: &str = "feedfacedeadbeeffeedfacedeadbeefabaddad2";

const VECTORS: &[Vector] = &[
    Vector {
        source: "GCM specification, test case 1",
        key: "00000000000000000000000000000000",
        nonce: "000000000000000000000000",
        aad: "",
        plaintext: "",
        ciphertext: "",
        tag: "58e2fccefa7e3061367f1d57a4e7455a",
    },
    Vector {
        source: "GCM specification, test case 2",
        key: "00000000000000000000000000000000",
        nonce: "000000000000000000000000",
        aad: "",
        plaintext: "00000000000000000000000000000000",
        ciphertext: "0388dace60b6a392f328c2b971b2fe78",
        tag: "ab6e47d42cec13bdf53a67b21257bddf",
    },
    Vector {
        source: "GCM specification, test case 3",
        key: "feffe9928665731c6d6a8f9467308308",
        nonce: "cafebabefacedbaddecaf888",
        aad: "",
        plaintext: GCM_PLAINTEXT,
        ciphertext: "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e
            21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985",
        tag: "4d5c2af327cd64a62cf35abd2ba6fab4",
    },
    Vector {
        source: "GCM specification, test case 4",
        key: "feffe9928665731c6d6a8f9467308308",
        nonce: "cafebabefacedbaddecaf888",
        aad: GCM_AAD,
        plaintext: GCM_PLAINTEXT_60,
        ciphertext: "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e
            21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
        tag: "5bc94fbc3221a5db94fae95ae7121a47",
    },
    Vector {
        source: "GCM specification, test case 13",
        key: "0000000000000000000000000000000000000000000000000000000000000000",
        nonce: "000000000000000000000000",
        aad: "",
        plaintext: "",
        ciphertext: "",
        tag: "530f8afbc74536b9a963b4f1c4cb738b",
    },
    Vector {
        source: "GCM specification, test case 14",
        key: "0000000000000000000000000000000000000000000000000000000000000000",
        nonce: "000000000000000000000000",
        aad: "",
        plaintext: "00000000000000000000000000000000",
        ciphertext: "cea7403d4d606b6e074ec5d3baf39d18",
        tag: "d0d1c8a799996bf0265b98b5d48ab919",
    },
    Vector {
        source: "GCM specification, test case 15",
        key: "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
        nonce: "cafebabefacedbaddecaf888",
        aad: "",
        plaintext: GCM_PLAINTEXT,
        ciphertext: "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa
            8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad",
        tag: "b094dac5d93471bdec1a502270e3cc6c",
    },
    Vector {
        source: "GCM specification, test case 16",
        key: "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
        nonce: "cafebabefacedbaddecaf888",
        aad: GCM_AAD,
        plaintext: GCM_PLAINTEXT_60,
        ciphertext: "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa
            8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
        tag: "76fc6ece0f4e1768cddf8853bb2d551b",
    },
    Vector {
        source: "CAVP, 128, no plaintext, no AAD, count 0",
        key: "11754cd72aec309bf52f7687212e8957",
        nonce: "3c819d9a9bed087615030b65",
        aad: "",
        plaintext: "",
        ciphertext: "",
        tag: "250327c674aaf477aef2675748cf6971",
    },
    Vector {
        source: "CAVP, 128, no plaintext, no AAD, count 1",
        key: "ca47248ac0b6f8372a97ac43508308ed",
        nonce: "ffd2b598feabc9019262d2be",
        aad: "",
        plaintext: "",
        ciphertext: "",
        tag: "60d20404af527d248d893ae495707d1a",
    },
    Vector {
        source: "CAVP, 128, AAD only, count 0",
        key: "77be63708971c4e240d1cb79e8d77feb",
        nonce: "e0e00f19fed7ba0136a797f3",
        aad: "7a43ec1d9c0a5a78a0b16533a6213cab",
        plaintext: "",
        ciphertext: "",
        tag: "209fcc8d3675ed938e9c7166709dd946",
    },
    Vector {
        source: "CAVP, 128, AAD only, count 1",
        key: "7680c5d3ca6154758e510f4d25b98820",
        nonce: "f8f105f9c3df4965780321f8",
        aad: "c94c410194c765e3dcc7964379758ed3",
        plaintext: "",
        ciphertext: "",
        tag: "94dca8edfcf90bb74b153c8d48a17930",
    },
    Vector {
        source: "CAVP, 128, plaintext only, count 0",
        key: "7fddb57453c241d03efbed3ac44e371c",
        nonce: "ee283a3fc75575e33efd4887",
        aad: "",
        plaintext: "d5de42b461646c255c87bd2962d3b9a2",
        ciphertext: "2ccda4a5415cb91e135c2a0f78c9b2fd",
        tag: "b36d1df9b9d5e596f83e8b7f52971cb3",
    },
    Vector {
        source: "CAVP, 128, plaintext only, count 1",
        key: "ab72c77b97cb5fe9a382d9fe81ffdbed",
        nonce: "54cc7dc2c37ec006bcc6d1da",
        aad: "",
        plaintext: "007c5e5b3e59df24a7c355584fc1518d",
        ciphertext: "0e1bde206a07a9c2c1b65300f8c64997",
        tag: "2b4401346697138c7a4891ee59867d0c",
    },
    Vector {
        source: "CAVP, 256, no plaintext, no AAD, count 0",
        key: "b52c505a37d78eda5dd34f20c22540ea1b58963cf8e5bf8ffa85f9f2492505b4",
        nonce: "516c33929df5a3284ff463d7",
        aad: "",
        plaintext: "",
        ciphertext: "",
        tag: "bdc1ac884d332457a1d2664f168c76f0",
    },
    Vector {
        source: "CAVP, 256, AAD only, count 0",
        key: "78dc4e0aaf52d935c3c01eea57428f00ca1fd475f5da86a49c8dd73d68c8e223",
        nonce: "d79cf22d504cc793c3fb6c8a",
        aad: "b96baa8c1c75a671bfb2d08d06be5f36",
        plaintext: "",
        ciphertext: "",
        tag: "3e5d486aa2e30b22e040b85723a06e76",
    },
    Vector {
        source: "CAVP, 256, plaintext of 128 bits, count 0",
        key: "31bdadd96698c204aa9ce1448ea94ae1fb4a9a0b3c9d773b51bb1822666b8f22",
        nonce: "0d18e06c7c725ac9e362e1ce",
        aad: "",
        plaintext: "2db5168e932556f8089a0622981d017d",
        ciphertext: "fa4362189661d163fcd6a56d8bf0405a",
        tag: "d636ac1bbedd5cc3ee727dc2ab4a9489",
    },
    Vector {
        source: "CAVP, 256, plaintext of 104 bits, count 3",
        key: "e5a0eb92cc2b064e1bc80891faf1fab5e9a17a9c3a984e25416720e30e6c2b21",
        nonce: "4742357c335913153ff0eb0f",
        aad: "",
        plaintext: "8499893e16b0ba8b007d54665a",
        ciphertext: "eb8e6175f1fe38eb1acf95fd51",
        tag: "88a8b74bb74fda553e91020a23deed45",
    },
];

#[test]
fn aes_gcm_agrees_with_its_specification_and_with_nist() {
    let mut without_plaintext = 0;
    for v in VECTORS {
        let key = hex(v.key);
        let algorithm = if key.len() == 16 { &AES_128_GCM } else { &AES_256_GCM };
        let key = AeadKey::new(algorithm, &key).expect("a key");
        let (nonce, aad, tag) = (hex_array(v.nonce), hex(v.aad), hex_array(v.tag));

        let mut text = hex(v.plaintext);
        let mut computed = [0; 16];
        assert!(key.seal(nonce, &aad, &mut text, &mut computed), "{}", v.source);
        assert_eq!(text, hex(v.ciphertext), "{}", v.source);
        assert_eq!(computed, tag, "{}", v.source);
        assert!(key.open(nonce, &aad, &mut text, tag), "{}", v.source);
        assert_eq!(text, hex(v.plaintext), "{}", v.source);

        if v.plaintext.is_empty() {
            let key = hex(v.key);
            let computed = match key.len() {
                16 => GmacKey::<aes::Aes128Enc>::new(&key).map(|key| key.tag(nonce, &aad)),
                _ => GmacKey::<aes::Aes256Enc>::new(&key).map(|key| key.tag(nonce, &aad)),
            };
            assert_eq!(computed, Some(tag), "{}", v.source);
            without_plaintext += 1;
        }
    }
    assert_eq!((VECTORS.len(), without_plaintext), (18, 8));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// RFC 4543 defines it so.
    #[test]
    fn gmac_is_the_gcm_of_another_library_with_no_plaintext(
        key in any::<[u8; 32]>(),
        nonce in any::<[u8; 12]>(),
        message in vec(any::<u8>(), 0..2000),
    ) {
        let gcm = AeadKey::new(&AES_256_GCM, &key).expect("a key");
        let gmac = GmacKey::<aes::Aes256Enc>::new(&key).expect("a key");
        let mut tag = [0; 16];
        prop_assert!(gcm.seal(nonce, &message, &mut [], &mut tag));
        prop_assert_eq!(gmac.tag(nonce, &message), tag);
        prop_assert!(gmac.verify(nonce, &message, &tag));
    }
}

#[test]
fn chacha20_poly1305_agrees_with_rfc_7634_appendix_b() {
    let key = hex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");
    let key = AeadKey::new(&CHACHA20_POLY1305, &key).expect("a key");
    let nonce = hex_array("a0a1a2a31011121314151617");
    let aad = hex("c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d72e202500000000090000004529000029");
    let mut text = hex("0000000c000040010000000a00");
    let mut tag = [0; 16];
    assert!(key.seal(nonce, &aad, &mut text, &mut tag));
    assert_eq!(text, hex("610394701f8d017f7c12924889"));
    assert_eq!(tag, hex_array("6b71bfe25236efd7cdc67066906315b2"));
}
