use crate::Error;
use crate::status::{RunState, SinkStatus};
use crate::traits::StoreError;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

pub(super) enum Order {
    Pause(bool, oneshot::Sender<Result<(), StoreError>>),
    Skip(u64, oneshot::Sender<Result<u64, StoreError>>),
    Seek(u64, oneshot::Sender<Result<(), StoreError>>),
    Probe,
    Stop(Duration),
}

/// The running sink, from outside. Who commands and why is recorded by the caller (F3).
#[derive(Clone)]
pub struct Handle {
    pub(super) name: String,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) status: watch::Receiver<SinkStatus>,
}

impl Handle {
    #[must_use]
    pub fn status(&self) -> SinkStatus {
        self.status.borrow().clone()
    }
    /// Changes whenever something moved.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<SinkStatus> {
        self.status.clone()
    }

    async fn ask<T>(
        &self,
        make: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Order,
    ) -> Result<T, Error> {
        let stopped = || Error::Stopped(self.name.clone());
        let (tell, answer) = oneshot::channel();
        self.orders.send(make(tell)).await.map_err(|_| stopped())?;
        let done = answer.await.map_err(|_| stopped())?;
        done.map_err(|e| Error::Store { sink: self.name.clone(), why: e.0 })
    }

    /// Nothing new leaves; what is under way is finished. Survives a restart.
    ///
    /// # Errors
    /// The sink has stopped; the cursor store cannot be written.
    pub async fn pause(&self) -> Result<(), Error> {
        self.ask(|t| Order::Pause(true, t)).await
    }
    /// # Errors
    /// As [`Handle::pause`].
    pub async fn resume(&self) -> Result<(), Error> {
        self.ask(|t| Order::Pause(false, t)).await
    }
    /// Gives up every event below `to` that has not been sent; returns how many of them had been read.
    ///
    /// # Errors
    /// As [`Handle::pause`].
    pub async fn skip(&self, to: u64) -> Result<u64, Error> {
        self.ask(|t| Order::Skip(to, t)).await
    }
    /// Goes on at `to`: back for a replay, forward to leave out.
    ///
    /// # Errors
    /// As [`Handle::pause`].
    pub async fn seek(&self, to: u64) -> Result<(), Error> {
        self.ask(|t| Order::Seek(to, t)).await
    }
    /// Tries a held sink now instead of at its next turn.
    pub async fn probe(&self) {
        // A sink that has stopped needs no probe.
        let _ = self.orders.send(Order::Probe).await;
    }
    /// Lets requests that are under way finish for up to `grace`, writes the cursor and ends the loop. Whatever is unfinished is
    /// simply unsent.
    pub async fn stop(&self, grace: Duration) {
        let mut status = self.status.clone();
        if self.orders.send(Order::Stop(grace)).await.is_ok() {
            // The sender goes away with the loop, which ends this too.
            let _ = status.wait_for(|s| s.state == RunState::Stopped).await;
        }
    }
}
