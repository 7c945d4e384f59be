//! The cryptography that ISAKMP, IKEv1 and GDOI name: hashes, ciphers, key exchange, signatures and
//! certificates. Computes only; it sends nothing and asks no one for the time.
