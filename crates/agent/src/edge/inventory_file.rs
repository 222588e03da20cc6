//! Hears that the inventory was written, and reads it whole.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Watches the directory of the inventory: an editor or a copy replaces the file, so the file itself cannot be
/// watched. A directory that is a mount point or goes away is caught by the slow timer.
#[derive(Debug)]
pub struct InventoryFile {
    path: PathBuf,
    events: AsyncFd<Descriptor>,
}

#[derive(Debug)]
struct Descriptor(Inotify);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl InventoryFile {
    /// Starts to watch.
    ///
    /// # Errors
    /// When the directory cannot be watched.
    pub fn watch(path: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let directory =
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Not IN_MODIFY: a file that is being written is looked at when its writer has closed it.
        let written = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE;
        inotify.add_watch(directory, written)?;
        // SAFETY: the descriptor is owned by the `Inotify` and stays open until the `AsyncFd` drops it.
        let events = unsafe { AsyncFd::register_with_interest(Descriptor(inotify), Interest::READABLE)? };
        Ok(Self { path: path.to_owned(), events })
    }

    /// Waits until the file may have changed.
    ///
    /// # Errors
    /// When the watch broke.
    pub async fn changed(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.events.readable().await?;
            match ready.try_io(|inotify| inotify.get_ref().0.read_events().map_err(io::Error::from)) {
                Ok(Ok(events)) => {
                    let about_us =
                        |name: &std::ffi::OsString| Some(name.as_os_str()) == self.path.file_name();
                    // An event without a name is about the directory, or says that events were lost.
                    if events.iter().any(|event| event.name.as_ref().is_none_or(about_us)) {
                        return Ok(());
                    }
                }
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
    }
}

/// Reads the file; never more than one byte over `limit`, so that a wrong path cannot fill the memory.
///
/// # Errors
/// When it cannot be read.
pub fn read(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
