//! Groups against a key server in the same process, in virtual time.
