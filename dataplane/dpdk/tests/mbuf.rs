//! Mempools and mbufs under a real EAL: every operation's effect on data, lengths and the pool.

#![allow(clippy::unwrap_used)] // in helpers, too

use dpdk::{Burst, HEADROOM, Mbuf, Mempool, MempoolError, NotInitialised, free_burst, testing};

fn pool(count: u32, data_room: u16) -> std::sync::Arc<Mempool> {
    testing::eal();
    Mempool::new("test", count, 0, data_room, None).unwrap()
}

fn contents(mbuf: &Mbuf) -> Vec<u8> {
    let mut octets = Vec::new();
    mbuf.read_to(&mut octets);
    octets
}

/// A packet whose segments hold these octets.
fn chain(pool: &Mempool, parts: &[&[u8]]) -> Mbuf {
    let mut mbuf = Mbuf::copy_from(pool, parts[0]).unwrap();
    for part in &parts[1..] {
        mbuf.chain(Mbuf::copy_from(pool, part).unwrap()).unwrap();
    }
    mbuf
}

#[test]
fn a_new_mbuf_is_empty_with_headroom_and_the_whole_data_room_behind() {
    let pool = pool(15, 512);
    let mbuf = Mbuf::alloc(&pool).unwrap();
    assert_eq!((mbuf.data_len(), mbuf.pkt_len(), mbuf.segments()), (0, 0, 1));
    assert_eq!(mbuf.headroom(), usize::from(HEADROOM));
    assert_eq!(mbuf.tailroom(), 512);
    assert_eq!(mbuf.buf_len(), 512 + usize::from(HEADROOM));
    assert!(mbuf.is_contiguous() && mbuf.data().is_empty());
}

#[test]
fn growing_and_trimming_move_the_ends_of_the_data_and_nothing_else() {
    let pool = pool(15, 64);
    let mut mbuf = Mbuf::copy_from(&pool, b"middle").unwrap();
    mbuf.prepend(4).unwrap().copy_from_slice(b"pre-");
    mbuf.append(5).unwrap().copy_from_slice(b"-post");
    assert_eq!(mbuf.data(), b"pre-middle-post");
    assert_eq!(mbuf.headroom(), usize::from(HEADROOM) - 4);
    assert_eq!(mbuf.tailroom(), 64 - 11);
    assert!(mbuf.trim_front(4) && mbuf.trim_back(5));
    assert_eq!(mbuf.data(), b"middle");
    mbuf.data_mut()[0] = b'M';
    assert_eq!((contents(&mbuf), mbuf.pkt_len()), (b"Middle".to_vec(), 6));
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let pool = pool(15, 64);
    let mut mbuf = Mbuf::copy_from(&pool, b"data").unwrap();
    assert!(mbuf.prepend(usize::from(HEADROOM) + 1).is_none());
    assert!(mbuf.append(61).is_none());
    assert!(mbuf.append(usize::MAX).is_none() && mbuf.prepend(usize::MAX).is_none());
    assert!(!mbuf.trim_front(5) && !mbuf.trim_back(5) && !mbuf.trim_back(usize::MAX));
    assert_eq!((mbuf.data(), mbuf.pkt_len()), (&b"data"[..], 4));
    assert!(mbuf.prepend(usize::from(HEADROOM)).is_some() && mbuf.append(60).is_some());
    assert_eq!((mbuf.headroom(), mbuf.tailroom()), (0, 0));
    assert!(mbuf.trim_front(mbuf.data_len()) && mbuf.data().is_empty());
    assert!(Mbuf::copy_from(&pool, &[0; 65]).is_none());
}

#[test]
fn an_exhausted_pool_gives_none_until_an_mbuf_comes_back() {
    let pool = pool(31, 64);
    let mut burst = Burst::new();
    assert_eq!(Mbuf::alloc_burst(&pool, &mut burst, 32), 0, "all or nothing");
    assert_eq!(Mbuf::alloc_burst(&pool, &mut burst, 31), 31);
    assert_eq!((pool.available(), pool.in_use()), (0, 31));
    assert!(Mbuf::alloc(&pool).is_none());
    assert!(Mbuf::copy_from(&pool, b"x").is_none());
    drop(burst.pop());
    assert_eq!(pool.in_use(), 30);
    drop(Mbuf::alloc(&pool).unwrap());
    free_burst(&mut burst);
    assert!(burst.is_empty());
    assert_eq!((pool.available(), pool.in_use()), (31, 0));
}

#[test]
fn alloc_burst_fills_only_the_room_that_is_left() {
    let pool = pool(63, 64);
    let mut burst = Burst::new();
    assert_eq!(Mbuf::alloc_burst(&pool, &mut burst, 30), 30);
    assert_eq!(Mbuf::alloc_burst(&pool, &mut burst, 30), 2);
    assert_eq!(Mbuf::alloc_burst(&pool, &mut burst, 1), 0);
    assert_eq!((burst.len(), pool.in_use()), (32, 32));
}

#[test]
fn a_chain_reads_as_one_packet() {
    let pool = pool(15, 64);
    let mbuf = chain(&pool, &[b"one ", b"two ", b"three"]);
    assert_eq!((mbuf.segments(), mbuf.pkt_len(), mbuf.data()), (3, 13, &b"one "[..]));
    assert_eq!(contents(&mbuf), b"one two three");
    assert_eq!(mbuf.segment_data().collect::<Vec<_>>(), [&b"one "[..], b"two ", b"three"]);
    let mut out = [0; 7];
    assert!(mbuf.copy_out(2, &mut out));
    assert_eq!(&out, b"e two t");
    assert!(mbuf.copy_out(13, &mut []) && !mbuf.copy_out(14, &mut []) && !mbuf.copy_out(7, &mut out));
    drop(mbuf);
    assert_eq!(pool.in_use(), 0, "a chain gives all its segments back");
}

#[test]
fn the_end_of_a_chain_is_the_end_of_its_last_segment() {
    let pool = pool(15, 16);
    let mut mbuf = chain(&pool, &[b"one", b"two"]);
    mbuf.append(3).unwrap().copy_from_slice(b"six");
    assert_eq!((contents(&mbuf), mbuf.pkt_len()), (b"onetwosix".to_vec(), 9));
    assert!(mbuf.append(11).is_none() && !mbuf.trim_back(7));
    assert!(mbuf.trim_back(4));
    assert_eq!((contents(&mbuf), mbuf.pkt_len()), (b"onetw".to_vec(), 5));
    assert!(mbuf.trim_front(3) && !mbuf.trim_front(1));
    assert_eq!(contents(&mbuf), b"tw");
}

#[test]
fn a_chain_that_fits_its_first_segment_is_made_contiguous_in_place() {
    let (small, large) = (pool(15, 32), pool(15, 256));
    let whole = chain(&small, &[b"one ", b"two ", b"three"]).to_contiguous(&large).unwrap();
    assert_eq!((whole.data(), whole.segments()), (&b"one two three"[..], 1));
    assert_eq!((small.in_use(), large.in_use()), (1, 0));
}

#[test]
fn a_chain_too_long_for_its_first_segment_moves_to_the_large_pool() {
    let (small, large) = (pool(15, 8), pool(15, 16));
    let mut mbuf = chain(&small, &[b"one two ", b"three"]);
    mbuf.set_header_lengths(14, 20);
    let whole = mbuf.to_contiguous(&large).unwrap();
    assert_eq!((whole.data(), whole.headroom()), (&b"one two three"[..], usize::from(HEADROOM)));
    assert_eq!((small.in_use(), large.in_use()), (0, 1));
}

#[test]
fn a_chain_that_fits_nowhere_comes_back_unchanged() {
    let (small, large) = (pool(15, 8), pool(1, 12));
    let mbuf = chain(&small, &[b"one two ", b"three"]).to_contiguous(&large).unwrap_err();
    assert_eq!((contents(&mbuf), mbuf.segments()), (b"one two three".to_vec(), 2));
    assert_eq!(large.in_use(), 0);
    let taken = Mbuf::alloc(&large).unwrap();
    assert!(chain(&small, &[b"one two ", b"3"]).to_contiguous(&large).is_err());
    drop((taken, mbuf));
}

#[test]
fn an_mbuf_outlives_the_last_handle_of_its_pool() {
    let pool = pool(15, 64);
    let mut mbuf = Mbuf::copy_from(&pool, b"orphan").unwrap();
    drop(pool);
    mbuf.append(1).unwrap()[0] = b'!';
    assert_eq!(mbuf.data(), b"orphan!");
}

#[test]
fn pools_are_freed_when_their_mbufs_are_back() {
    // Together several times the memory that EAL has: only freeing lets all of them exist in turn.
    for _ in 0..40 {
        let pool = pool(16_383, 2_048);
        drop(Mbuf::alloc(&pool).unwrap());
    }
}

#[test]
fn an_mbuf_may_be_freed_by_another_thread() {
    let pool = pool(15, 64);
    let mbuf = Mbuf::copy_from(&pool, b"x").unwrap();
    std::thread::spawn(move || drop(mbuf)).join().unwrap();
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_pool_too_large_for_memory_or_an_mbuf_is_refused_with_advice() {
    testing::eal();
    let refused = Mempool::new("test", 8_000_000, 0, 2_048, None).unwrap_err();
    assert!(refused.to_string().contains("hugepages"), "{refused}");
    assert!(matches!(Mempool::new("test", 15, 0, u16::MAX, None), Err(MempoolError::DataRoom(_))));
    assert!(Mempool::new("test", 3, 512, Mempool::MAX_DATA_ROOM, None).is_ok());
    assert_eq!(NotInitialised.to_string(), "DPDK's EAL is not running in this process");
}

#[test]
fn debug_output_shows_no_packet_data() {
    let pool = pool(15, 64);
    let mbuf = Mbuf::copy_from(&pool, b"secret").unwrap();
    assert_eq!(format!("{mbuf:?}"), "Mbuf { pkt_len: 6, segments: 1, .. }");
}
