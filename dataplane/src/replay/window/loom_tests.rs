//! What two workers may do to one replay window at once, explored by loom. Bounded to few numbers in a
//! window of two words, so that words are reused at once. Never runs outside of tests.

use super::{CachePadded, ReplayError, Shape, Window};
use crate::sync::AtomicU64;
use loom::thread;
use std::sync::Arc;

/// Of two words, so that few numbers suffice to reuse one.
fn small() -> Arc<Window> {
    let shape = Shape::of(33);
    assert_eq!(shape.words(), 2);
    let words = (0..shape.words()).map(|_| AtomicU64::new(0)).collect();
    Arc::new(Window { top: CachePadded::new(AtomicU64::new(0)), words, shape })
}

/// Two workers commit these numbers; says what each was told.
fn race<const A: usize, const B: usize>(
    window: &Arc<Window>,
    first: [u32; A],
    second: [u32; B],
) -> ([bool; A], [bool; B]) {
    let other = {
        let window = Arc::clone(window);
        thread::spawn(move || second.map(|seq| window.commit(seq).is_ok()))
    };
    (first.map(|seq| window.commit(seq).is_ok()), other.join().expect("the other worker"))
}

#[test]
fn loom_one_of_two_workers_accepts_the_same_number() {
    loom::model(|| {
        let window = small();
        let (first, second) = race(&window, [5, 6], [6, 5]);
        assert!(first[0] != second[1] && first[1] != second[0]);
        assert_eq!(window.check(5), Err(ReplayError::Duplicate));
        assert_eq!(window.check(6), Err(ReplayError::Duplicate));
    });
}

#[test]
fn loom_bursts_of_two_workers_share_out_their_numbers() {
    loom::model(|| {
        let window = small();
        let burst = |window: &Window, seqs: [u32; 3]| {
            let mut out = [Ok(()); 3];
            window.commit_burst(&seqs, &mut out);
            out.map(|verdict| verdict.is_ok())
        };
        let other = {
            let window = Arc::clone(&window);
            thread::spawn(move || burst(&window, [31, 32, 33]))
        };
        let first = burst(&window, [30, 31, 32]);
        let second = other.join().expect("the other worker");
        assert!(first[0] && second[2]);
        assert!(first[1] != second[0] && first[2] != second[1]);
        assert!((30..=33).all(|seq| window.check(seq) == Err(ReplayError::Duplicate)));
    });
}

#[test]
fn loom_no_bit_is_lost_when_two_workers_commit_and_advance() {
    loom::model(|| {
        let window = small();
        let (first, second) = race(&window, [8, 40], [9, 33]);
        // All four lie within one window, so each must be accepted and remembered.
        assert_eq!((first, second), ([true; 2], [true; 2]));
        for seq in [8, 9, 33, 40] {
            assert_eq!(window.check(seq), Err(ReplayError::Duplicate));
        }
        assert_eq!(window.highest(), 40);
        assert_eq!(window.check(7), Err(ReplayError::Stale));
        assert_eq!(window.check(10), Ok(()));
    });
}

#[test]
fn loom_a_word_reused_by_one_worker_accepts_nothing_twice_from_the_other() {
    loom::model(|| {
        let window = small();
        // 5 and 70 share a word: 70 is two blocks later, 69 has the bit there that 5 had.
        let (first, second) = race(&window, [5, 70], [5, 70]);
        assert!(!(first[0] && second[0]));
        assert!(first[1] != second[1]);
        assert_eq!(window.check(5), Err(ReplayError::Stale));
        assert_eq!(window.check(69), Ok(()));
        assert_eq!(window.check(70), Err(ReplayError::Duplicate));
    });
}

#[test]
fn loom_the_window_never_moves_back_when_two_workers_jump_ahead() {
    loom::model(|| {
        let window = small();
        let (_, second) = race(&window, [70], [233]);
        assert!(second[0]);
        assert_eq!(window.highest(), 233);
        assert_eq!(window.check(233 - 33), Err(ReplayError::Stale));
        assert_eq!(window.commit(70), Err(ReplayError::Stale));
    });
}
