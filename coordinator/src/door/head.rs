//! The first head of a connection, read before anything larger is set up for it.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{Full, Visit};

/// Bytes that a connection is counted as until its first head is there (ours): its task, its
/// socket's entry, and the head itself up to [`FIRST_BYTES`].
pub(crate) const HEAD_STAGE_BYTES: usize = 2 * 1024;
/// Size in bytes of the buffer that a head gets at first (ours); most heads fit into twice as much.
const FIRST_BYTES: usize = 512;

/// Why there is no head.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoHead {
    #[error("the connection gave way to others")]
    GaveWay(Full),
    #[error("the connection ended within its first head")]
    Ended,
    #[error(transparent)]
    Broken(#[from] io::Error),
}

/// Reads until a head of HTTP/1 is whole, larger than `bytes_max`, or surely none: then whoever parses it
/// says what is wrong.
pub(crate) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    visit: &Visit,
    bytes_max: usize,
) -> Result<BytesMut, NoHead> {
    let mut head = BytesMut::with_capacity(FIRST_BYTES);
    loop {
        if head.capacity() == head.len() {
            let more = head.len();
            visit.hold(more).map_err(NoHead::GaveWay)?;
            head.reserve(more);
        }
        let before = head.len();
        // Bounded by the buffer's capacity, which only grows above.
        let room = head.capacity() - before;
        let mut part = (&mut *stream).take(room as u64);
        if part.read_buf(&mut head).await? == 0 {
            return Err(NoHead::Ended);
        }
        let is_request = head.first().is_some_and(u8::is_ascii_uppercase);
        if !is_request || ends(&head, before) || head.len() >= bytes_max {
            return Ok(head);
        }
    }
}

/// Whether an empty line is among what came after `before`.
fn ends(head: &[u8], before: usize) -> bool {
    let new = &head[before.saturating_sub(3)..];
    new.windows(2).any(|pair| pair == b"\n\n") || new.windows(3).any(|line| line == b"\n\r\n")
}
