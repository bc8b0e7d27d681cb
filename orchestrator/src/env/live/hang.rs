//! File systems that hang: a thread that waits for one inside the kernel cannot be ended, so it must not be joined by
//! another at every sweep. Tokio's blocking pool has 512 threads, and without any free one everything that blocks stops.

use crate::domain::limits::deadline;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;

/// Directories that have kept a thread of ours beyond its deadline and have not let it go, with how many threads.
#[derive(Clone, Default)]
pub(super) struct Stuck {
    places: Arc<Mutex<BTreeMap<PathBuf, u32>>>,
    freed: Arc<Notify>,
}

/// Why there is no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hung {
    /// It had not come back by the deadline; it may still come to its end.
    Deadline,
    /// Nothing was begun: what was begun there earlier hangs.
    Already,
    /// Its thread ended without one: why.
    Ended(String),
}

impl Stuck {
    /// Runs what works at `place` on a thread that may block, for at most `limit`.
    ///
    /// # Errors
    /// [`Hung`]. While something hangs at `place`, nothing else is begun there; that is waited for, as long, and no longer
    /// than files may take.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        place: &Path,
        limit: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Hung> {
        let patience = limit.min(Duration::from_micros(deadline::FILES.0));
        if tokio::time::timeout(patience, self.free(place)).await.is_err() {
            return Err(Hung::Already);
        }
        let mut thread = spawn_blocking(work);
        match tokio::time::timeout(limit, &mut thread).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(Hung::Ended(format!("its thread ended: {error}"))),
            Err(_) => {
                self.with(|stuck| *stuck.entry(place.to_owned()).or_default() += 1);
                let (all, place) = (self.clone(), place.to_owned());
                tokio::spawn(async move {
                    // What it found is out of date.
                    drop(thread.await);
                    all.with(|stuck| {
                        if let Some(count) = stuck.get_mut(&place) {
                            *count = count.saturating_sub(1);
                        }
                        stuck.retain(|_, count| *count > 0);
                    });
                    all.freed.notify_waiters();
                });
                Err(Hung::Deadline)
            }
        }
    }

    /// Whether something hangs there.
    pub(super) fn at(&self, place: &Path) -> bool {
        self.with(|stuck| stuck.contains_key(place))
    }

    /// Until nothing hangs there.
    async fn free(&self, place: &Path) {
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            freed.as_mut().enable();
            if !self.at(place) {
                return;
            }
            freed.await;
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<PathBuf, u32>) -> T) -> T {
        work(&mut self.places.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Something that is done again and again, and never twice at a time.
#[derive(Clone, Default)]
pub(super) struct Single {
    under_way: Arc<AtomicBool>,
    told: Arc<AtomicBool>,
}

/// Ends with the work, also with one that panics or is dropped.
struct UnderWay(Arc<AtomicBool>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Single {
    /// Does it; nothing if it is still being done, which is told once until it ends.
    pub(super) async fn run<T>(&self, what: &str, work: impl Future<Output = T>) -> Option<T> {
        if self.under_way.swap(true, Ordering::AcqRel) {
            if !self.told.swap(true, Ordering::Relaxed) {
                tracing::warn!(what, "it is still under way since an earlier sweep: does a file system hang?");
            }
            return None;
        }
        let _guard = UnderWay(Arc::clone(&self.under_way));
        let done = work.await;
        self.told.store(false, Ordering::Relaxed);
        Some(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[tokio::test]
    async fn a_place_that_hangs_costs_one_thread_and_nobody_else() {
        let (stuck, place) = (Stuck::default(), Path::new("/hangs"));
        let (release, released) = channel::<()>();
        let hangs = move || released.recv_timeout(Duration::from_secs(60)).expect("released");
        assert_eq!(stuck.run(place, Duration::from_millis(20), hangs).await, Err(Hung::Deadline));
        let begun = Arc::new(AtomicBool::new(false));
        let again = Arc::clone(&begun);
        let second = stuck.run(place, Duration::from_millis(20), move || again.store(true, Ordering::Release)).await;
        assert_eq!((second, begun.load(Ordering::Acquire)), (Err(Hung::Already), false));
        assert_eq!(stuck.run(Path::new("/sound"), Duration::from_secs(60), || 7).await, Ok(7));
        release.send(()).expect("it waits");
        let after = stuck.run(place, Duration::from_secs(60), || 8).await;
        assert_eq!(after, Ok(8), "what has come back is forgotten");
    }

    #[tokio::test]
    async fn a_sweep_that_hangs_is_not_joined_by_another() {
        let single = Single::default();
        let (release, released) = tokio::sync::oneshot::channel::<()>();
        let (begin, begun) = tokio::sync::oneshot::channel();
        let first = single.clone();
        let first = tokio::spawn(async move {
            let hangs = async {
                begin.send(()).expect("somebody listens");
                released.await.expect("released");
            };
            first.run("a survey", hangs).await
        });
        begun.await.expect("it has begun");
        for _ in 0..3 {
            assert_eq!(single.run("a survey", async {}).await, None);
        }
        release.send(()).expect("it waits");
        assert_eq!(first.await.expect("it ends"), Some(()));
        assert_eq!(single.run("a survey", async { 7 }).await, Some(7));
    }
}
