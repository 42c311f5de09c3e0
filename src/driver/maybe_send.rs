//! `Send`, if there are threads to send to.

/// [`Send`], except on wasm32, where it is nothing.
///
/// The closures that a driver calls ([`classify`](crate::Redial::classify),
/// [`observe`](crate::Redial::observe), [`wall_clock`](crate::Redial::wall_clock))
/// must be `Send`, so that the driver is `Send` and can be spawned on a runtime
/// with many threads. In a browser a program has one thread, and what its
/// closures capture rarely is `Send`. So the bound is lifted there.
///
/// # Drivers that stay on their thread
///
/// On all other targets the bound holds for drivers in a `LocalSet` too. To use
/// an `Rc` there, send to it what the closure sees:
///
/// ```
/// use redial::{Event, Redial};
/// use std::cell::Cell;
/// use std::rc::Rc;
/// use tokio::sync::mpsc::unbounded_channel;
/// use tokio::task::LocalSet;
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// let failures = Rc::new(Cell::new(0));
/// let (tell, mut told) = unbounded_channel();
/// let redial = Redial::new(redial::tcp::connect("chat.example:6667")).observe(move |event| {
///     if let Event::Failed { attempt, .. } = event {
///         let _ = tell.send(*attempt);
///     }
/// });
/// let local = LocalSet::new();
/// local.spawn_local({
///     let failures = failures.clone();
///     async move {
///         while told.recv().await.is_some() {
///             failures.set(failures.get() + 1);
///         }
///     }
/// });
/// # drop(redial);
/// # runtime.block_on(local);
/// ```
///
/// The [statuses](crate::Handle::watch) of a driver can be read in the same way,
/// without an observer.
///
/// This trait is implemented for every type that may have it, and for no other.
#[cfg(not(target_arch = "wasm32"))]
pub trait MaybeSend: Send {}
#[cfg(not(target_arch = "wasm32"))]
impl<T: Send + ?Sized> MaybeSend for T {}

/// [`Send`], except on wasm32, where it is nothing.
#[cfg(target_arch = "wasm32")]
pub trait MaybeSend {}
#[cfg(target_arch = "wasm32")]
impl<T: ?Sized> MaybeSend for T {}
