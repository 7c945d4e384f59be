//! The endpoint over real sockets, as clients of all kinds meet it.

use super::*;
use crate::question::questions;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

/// An endpoint whose figure is how often it was asked for, answered from a thread; it ends with `Endpoint`.
fn endpoint(limits: Limits) -> (Endpoint, Arc<AtomicUsize>) {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let (asker, mut questions) = questions();
    let endpoint = listener
        .serve(limits, asker, |asked: &u64| {
            let mut page = Page::new("test");
            page.counter("asked", "how often").count(&[], *asked);
            // Much more than what the kernel takes for a client that does not read.
            page.gauge("long", "a long one").number(&[("text", &"x".repeat(20_000_000))], 0.0);
            page
        })
        .unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    thread::spawn(move || {
        while let Some(question) = questions.blocking_recv() {
            question.answer(count.fetch_add(1, Ordering::SeqCst) as u64 + 1);
        }
    });
    (endpoint, asked)
}

/// Sends text, and reads until the other side closes.
fn exchange(endpoint: &Endpoint, request: &str) -> String {
    let mut stream = connect(endpoint);
    stream.write_all(request.as_bytes()).unwrap();
    read_all(stream)
}

fn connect(endpoint: &Endpoint) -> net::TcpStream {
    let stream = net::TcpStream::connect(endpoint.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

fn read_all(mut stream: net::TcpStream) -> String {
    let mut octets = Vec::new();
    // A reset also is an end.
    let _ = stream.read_to_end(&mut octets);
    String::from_utf8_lossy(&octets).into_owned()
}

#[test]
fn metrics_are_there_once_a_connection_and_nothing_else_is() {
    let (endpoint, _) = endpoint(Limits::default());
    let got = exchange(&endpoint, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    let (head, body) = got.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert!(head.contains("connection: close"), "{head}");
    assert!(body.contains("\ntest_asked_total 1\n"));
    assert!(body.contains("\nprocess_cpu_seconds_total "));
    let head_only = exchange(&endpoint, "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(head_only.starts_with("HTTP/1.1 200 OK\r\n") && head_only.ends_with("\r\n\r\n"), "{head_only}");
    for (request, status) in [
        ("GET / HTTP/1.1", "404 Not Found"),
        ("GET /metrics/ HTTP/1.1", "404 Not Found"),
        ("POST /metrics HTTP/1.1", "405 Method Not Allowed"),
        ("DELETE /metrics HTTP/1.1", "405 Method Not Allowed"),
    ] {
        let got = exchange(&endpoint, &format!("{request}\r\nHost: x\r\n\r\n"));
        assert!(got.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {got}");
    }
    assert!(exchange(&endpoint, "\x16\x03\x01 this is no HTTP\r\n\r\n").starts_with("HTTP/1.1 400 "));
}

#[test]
fn a_request_that_is_too_long_is_refused() {
    let (endpoint, asked) = endpoint(Limits::default());
    let long = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(100_000));
    let mut stream = connect(&endpoint);
    let _ = stream.write_all(long.as_bytes());
    let got = read_all(stream);
    assert!(!got.contains("200 OK"), "{got}");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[test]
fn figures_are_asked_for_once_however_many_want_them() {
    let (endpoint, asked) = endpoint(Limits { fresh: Duration::from_secs(60), ..Limits::default() });
    for _ in 0..5 {
        assert!(
            exchange(&endpoint, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").contains("test_asked_total 1\n")
        );
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[test]
fn clients_that_stall_are_cut() {
    let short = Duration::from_millis(300);
    let limits = Limits { head: short, whole: short * 2, ..Limits::default() };
    let (endpoint, _) = endpoint(limits);
    let begun = Instant::now();
    let mut half = connect(&endpoint);
    half.write_all(b"GET /metrics HTTP/1.1\r\nHost:").unwrap();
    assert!(!read_all(half).contains("200 OK"));
    // One that asks and does not read: what the kernel has no room for never comes.
    let mut silent = connect(&endpoint);
    silent.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    thread::sleep(short * 4);
    assert!(read_all(silent).len() < 20_000_000);
    assert!(begun.elapsed() < Duration::from_secs(15));
}

#[test]
fn many_idle_clients_do_not_keep_others_out() {
    let (endpoint, _) = endpoint(Limits { clients: 4, ..Limits::default() });
    let idle: Vec<_> = (0..40).map(|_| connect(&endpoint)).collect();
    let got = exchange(&endpoint, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(got.contains("200 OK"), "{}", &got[..got.len().min(200)]);
    drop(idle);
}

#[test]
fn an_owner_that_does_not_answer_is_said_to_be_unavailable() {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let limits = Limits { answer: Duration::from_millis(100), ..Limits::default() };
    let (asker, questions) = questions();
    let endpoint = listener.serve(limits, asker, |(): &()| Page::new("test")).unwrap();
    let got = exchange(&endpoint, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(got.starts_with("HTTP/1.1 503 "), "{got}");
    drop(questions);
    let got = exchange(&endpoint, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(got.starts_with("HTTP/1.1 503 "), "{got}");
}

#[test]
fn an_address_that_is_taken_says_so() {
    let taken = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let error = Listener::bind(taken.address()).unwrap_err().to_string();
    assert!(error.contains("[metrics] listen 127.0.0.1:") && error.contains("in use"), "{error}");
}
