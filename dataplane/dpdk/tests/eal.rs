//! EAL's start and end. A process has one EAL, so each case runs in a process of its own: this test
//! binary again, told by its environment what to do.

#![allow(clippy::unwrap_used)] // in helpers, too

use std::env;
use std::process::{Command, Output};

use dpdk::acl::{Acl4, AclError};
use dpdk::{Eal, EalError, EalProblem, Mbuf, Mempool, MempoolError, Port, Reassembler};

const CASE: &str = "DPDK_TEST_CASE";
const BASE: &str = "--no-huge --no-pci --no-shconf --no-telemetry -m 64 --lcores (0-1)@0";

/// Runs this test alone in a new process, which sees `case` in its environment.
fn child(test: &str, case: &str) -> Output {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CASE, case)
        .output()
        .unwrap()
}

fn assert_child(test: &str, case: &str) {
    let output = child(test, case);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{case}: {out}{err}");
}

fn init(args: &str) -> Result<Eal, EalError> {
    Eal::init(&args.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
}

#[test]
fn a_failed_start_says_what_is_wrong_and_what_to_do() {
    let Ok(case) = env::var(CASE) else {
        for case in [
            "Arguments / --no-such-option / unrecognized option '--no-such-option'",
            "Arguments / -m /",
            "Arguments / --no-huge --in-memory / not compatible",
            "Lcores / --no-huge --no-pci --no-shconf -l 9999 /",
            "Lcores / --no-huge --no-pci --no-shconf -l 1-0 /",
            "Device / --no-huge --no-pci --no-shconf -m 64 --vdev net_nosuch0 / net_nosuch0",
            "Memory / --no-huge --no-pci --no-shconf -m 99999999 /",
        ] {
            assert_child("a_failed_start_says_what_is_wrong_and_what_to_do", case);
        }
        return;
    };
    let [problem, args, says] = case.split('/').map(str::trim).collect::<Vec<_>>()[..] else {
        panic!("{case}")
    };
    let error = init(args).expect_err("fails");
    let text = error.to_string();
    assert_eq!(format!("{:?}", error.problem()), problem, "{text}");
    assert!(text.contains(says) && text.contains(error.problem().advice()), "{text}");
    assert!(!text.contains("Usage") && text.lines().count() < 12, "{text}");
    assert_eq!(init(BASE).unwrap_err().problem(), EalProblem::SecondInit);
}

#[test]
fn a_failed_start_prints_nothing_by_itself() {
    if env::var(CASE).is_ok() {
        assert!(init("--no-such-option").is_err());
        return;
    }
    let output = child("a_failed_start_prints_nothing_by_itself", "1");
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !printed.contains("EAL") && !printed.contains("Usage"), "{printed}");
}

#[test]
fn a_device_that_could_not_be_made_says_why_when_it_is_asked_for() {
    if env::var(CASE).is_err() {
        return assert_child("a_device_that_could_not_be_made_says_why_when_it_is_asked_for", "1");
    }
    let eal = init(&format!("{BASE} --vdev net_pcap0,rx_pcap=/nonexistent.pcap --vdev net_null0")).unwrap();
    let error = Port::by_name("net_pcap0").unwrap_err().to_string();
    assert!(error.contains("Couldn't open /nonexistent.pcap") && error.contains("net_null0"), "{error}");
    assert_eq!(Port::names(), ["net_null0"]);
    assert!(eal.init_log().iter().any(|line| line.contains("/nonexistent.pcap")), "{:?}", eal.init_log());
}

#[test]
fn nothing_works_before_the_start_nor_after_the_end() {
    if env::var(CASE).is_err() {
        return assert_child("nothing_works_before_the_start_nor_after_the_end", "1");
    }
    let check = || {
        assert!(matches!(Mempool::new("x", 15, 0, 64, None), Err(MempoolError::NotInitialised(_))));
        assert!(Port::by_name("net_null0").is_err() && Port::names().is_empty());
        assert!(Reassembler::new(1, 1, None).is_err());
        let any = ([0; 4], 0);
        let rule =
            dpdk::acl::Rule4 { protocol: None, src: any, dst: any, src_port: (0, 0), dst_port: (0, 0) };
        assert!(matches!(Acl4::build(&[rule]), Err(AclError::NotInitialised(_))));
    };
    check();
    drop(init(BASE).unwrap());
    check();
    assert_eq!(init(BASE).unwrap_err().problem(), EalProblem::SecondInit);
}

#[test]
fn what_is_alive_outlives_the_handle_of_eal() {
    if env::var(CASE).is_err() {
        return assert_child("what_is_alive_outlives_the_handle_of_eal", "1");
    }
    let eal = init(BASE).unwrap();
    let lcore = eal.worker_lcores()[0];
    let pool = Mempool::new("x", 255, 32, 64, None).unwrap();
    let on_lcore = {
        let pool = pool.clone();
        eal.launch(lcore, move || Mbuf::copy_from(&pool, b"from the lcore")).unwrap()
    };
    drop(eal);
    let mbuf = on_lcore.join().unwrap().unwrap();
    assert_eq!(pool.in_use(), 1);
    drop(pool);
    // EAL's last user is gone, but not this: its memory must be, too.
    assert_eq!(mbuf.data(), b"from the lcore");
}
