//! Decoders of other libraries panic on some damaged files. Such a panic is a fault of the file, and nothing is printed about it.

use std::any::Any;
use std::cell::Cell;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// Characters of a panic's message that a reason shows.
const SHOWN_CHARACTERS: usize = 200;

thread_local! {
    static DECODING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread decodes a file: a panic is caught then, and becomes the reason why the file is rejected.
pub fn is_decoding() -> bool {
    DECODING.try_with(Cell::get).unwrap_or_default()
}

/// What the thread did before, which it goes on with when this is dropped.
struct Decoding(bool);

impl Decoding {
    fn begin() -> Self {
        Self(DECODING.replace(true))
    }
}

impl Drop for Decoding {
    fn drop(&mut self) {
        DECODING.set(self.0);
    }
}

/// What `decode` returns.
///
/// # Errors
/// What it says when it panics.
pub(super) fn caught<T>(decode: impl FnOnce() -> T) -> Result<T, String> {
    let decoding = Decoding::begin();
    let done = catch_unwind(AssertUnwindSafe(decode));
    drop(decoding);
    done.map_err(|panic| reason(panic.as_ref()))
}

/// What the future yields.
///
/// # Errors
/// As [`caught`]; the future is not polled again.
pub(super) async fn caught_while<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = pin!(future);
    poll_fn(|context| match caught(|| future.as_mut().poll(context)) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(reason) => Poll::Ready(Err(reason)),
    })
    .await
}

/// One line.
#[cold]
fn reason(panic: &(dyn Any + Send)) -> String {
    let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    let said = said.unwrap_or("without a message").split_whitespace().collect::<Vec<_>>().join(" ");
    let shown: String = said.chars().take(SHOWN_CHARACTERS).collect();
    format!("the decoder cannot go on with its bytes: {shown}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_and_only_while_decoding() {
        assert!(!is_decoding());
        assert_eq!(caught(|| caught(is_decoding).map(|inner| inner && is_decoding())), Ok(Ok(true)));
        let failed = caught(|| assert_eq!(1 + 1, 3)).unwrap_err();
        assert!(failed.contains("left: 2 right: 3") && !failed.contains('\n'), "{failed}");
        assert!(!is_decoding());
    }

    #[tokio::test]
    async fn a_panic_behind_a_wait_is_an_error() {
        let yields = async {
            tokio::task::yield_now().await;
            is_decoding()
        };
        assert_eq!(caught_while(yields).await, Ok(true));
        let panics = async {
            tokio::task::yield_now().await;
            assert!(!is_decoding(), "page {}", 7);
        };
        assert!(caught_while(panics).await.unwrap_err().ends_with(": page 7"));
        assert!(!is_decoding());
    }
}
