//! How figures are asked for: whoever owns them answers when it comes round to it, and who asks waits with a limit.

use std::fmt;
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Questions that may wait for the owner; to more there is no answer.
const WAITING: usize = 4;

/// The owner of the figures is asked for them.
pub struct Question<S>(Box<dyn FnOnce(S) + Send>);

impl<S> Question<S> {
    /// Answers it. That nobody waits any longer is no error.
    pub fn answer(self, figures: S) {
        (self.0)(figures);
    }
}

/// Who may ask.
pub struct Asker<S>(mpsc::Sender<Question<S>>);

impl<S> Clone for Asker<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S> fmt::Debug for Asker<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asker")
    }
}

/// An asker, and where its questions come out.
#[must_use]
pub fn questions<S>() -> (Asker<S>, mpsc::Receiver<Question<S>>) {
    let (asker, asked) = mpsc::channel(WAITING);
    (Asker(asker), asked)
}

impl<S: Send + 'static> Asker<S> {
    /// Asks, and waits for so long.
    pub async fn ask(&self, patience: Duration) -> Option<S> {
        let (answer, answered) = oneshot::channel();
        // Who no longer waits has dropped its end.
        let question = Question(Box::new(move |figures| drop(answer.send(figures))));
        self.0.try_send(question).ok()?;
        timeout(patience, answered).await.ok()?.ok()
    }

    /// The same for a thread that may stand still meanwhile.
    #[must_use]
    pub fn ask_blocking(&self, patience: Duration) -> Option<S> {
        let (answer, answered) = sync_channel(1);
        let question = Question(Box::new(move |figures| drop(answer.send(figures))));
        self.0.try_send(question).ok()?;
        answered.recv_timeout(patience).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    const SOON: Duration = Duration::from_millis(50);
    const LATER: Duration = Duration::from_secs(20);

    #[test]
    fn who_asks_gets_the_answer_or_waits_no_longer_than_it_wants() {
        let (asker, mut asked) = questions();
        assert_eq!(asker.ask_blocking(SOON), None);
        asked.try_recv().expect("the question").answer(1);
        let owner = thread::spawn(move || asked.blocking_recv().expect("a question").answer(2));
        assert_eq!(asker.ask_blocking(LATER), Some(2));
        owner.join().expect("the owner");
        assert_eq!(asker.ask_blocking(LATER), None, "the owner is gone");
    }

    #[test]
    fn an_owner_that_is_behind_is_asked_no_more() {
        let (asker, asked) = questions::<u8>();
        for _ in 0..WAITING {
            assert_eq!(asker.ask_blocking(Duration::ZERO), None);
        }
        assert_eq!(asker.ask_blocking(LATER), None, "at once");
        assert_eq!(asked.len(), WAITING);
    }
}
