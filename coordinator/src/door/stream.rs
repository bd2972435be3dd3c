//! A connection that is read from where its head was, and that does not wait for ever for a peer that
//! does not read.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// How a peer has to read what it asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WritePace {
    /// Timeout of a write of which nothing is taken.
    pub(crate) stall: Duration,
    /// Bytes a second of a long answer, below which the peer counts as stalled.
    pub(crate) bytes_per_second: u32,
}

impl Default for WritePace {
    fn default() -> Self {
        WritePace { stall: Duration::from_secs(10), bytes_per_second: 4 * 1024 }
    }
}

pub(crate) struct Paced<S> {
    stream: S,
    /// What was read already.
    head: Bytes,
    pace: WritePace,
    /// Deadline by which the peer has to have taken more; absent while it takes what is written.
    blocked: Option<Pin<Box<Sleep>>>,
}

impl<S> Paced<S> {
    pub(crate) fn new(stream: S, head: Bytes, pace: WritePace) -> Self {
        Paced { stream, head, pace, blocked: None }
    }

    /// Each byte that the peer takes buys it time.
    fn took(&mut self, bytes: usize) {
        let latest = Instant::now() + self.pace.stall;
        if let Some(blocked) = &mut self.blocked {
            let earned = bytes as f64 / f64::from(self.pace.bytes_per_second.max(1));
            let deadline = (blocked.deadline() + Duration::from_secs_f64(earned)).min(latest);
            blocked.as_mut().reset(deadline);
        }
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let deadline = Instant::now() + self.pace.stall;
        let blocked = self.blocked.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        ready!(blocked.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the peer does not read what it asked for",
        )))
    }

    fn written(
        &mut self,
        written: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => {
                self.took(bytes);
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.wait(cx),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.head.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, into);
        }
        let bytes = self.head.len().min(into.remaining());
        into.put_slice(&self.head[..bytes]);
        self.head.advance(bytes);
        if self.head.is_empty() {
            // Or its buffer is kept for as long as the connection is.
            self.head = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Whoever writes flushes once all is written: the peer has kept up.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.blocked = None;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
