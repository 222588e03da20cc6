//! libpcap, loaded when the first filter is compiled: only `-f` needs it, and only then must it be installed.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::NonNull;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::FilterError;
use crate::edge::watch::Instruction;

/// Under which names it is installed: Debian, everybody else, and a version that was built by hand.
const NAMES: [&CStr; 3] = [c"libpcap.so.0.8", c"libpcap.so.1", c"libpcap.so"];
/// `PCAP_ERRBUF_SIZE` of `pcap/pcap.h`.
const ERROR_BYTES: usize = 256;
/// `PCAP_NETMASK_UNKNOWN`: only `ip broadcast` would need one.
const NETMASK_UNKNOWN: u32 = 0xffff_ffff;
/// The most instructions that are copied from libpcap: what the kernel takes, times a generous 16, so that a filter
/// that is too long is told with its length.
const INSTRUCTIONS_COPIED_MAX: usize = super::INSTRUCTIONS_MAX * 16;

/// `struct bpf_program`; its instructions have the layout of the kernel's.
#[repr(C)]
struct RawProgram {
    len: u32,
    instructions: *mut Instruction,
}

type Handle = *mut c_void;
type OpenDead = unsafe extern "C" fn(c_int, c_int) -> Handle;
type Create = unsafe extern "C" fn(*const c_char, *mut c_char) -> Handle;
type SetSnaplen = unsafe extern "C" fn(Handle, c_int) -> c_int;
type Activate = unsafe extern "C" fn(Handle) -> c_int;
type Compile = unsafe extern "C" fn(Handle, *mut RawProgram, *const c_char, c_int, u32) -> c_int;
type GetError = unsafe extern "C" fn(Handle) -> *mut c_char;
type FreeCode = unsafe extern "C" fn(*mut RawProgram);
type Close = unsafe extern "C" fn(Handle);
#[cfg(test)]
type Filter = unsafe extern "C" fn(*const Instruction, *const u8, u32, u32) -> u32;

/// The functions that are called, in the words of `pcap/pcap.h`.
#[derive(Debug)]
pub(super) struct Library {
    open_dead: OpenDead,
    create: Create,
    set_snaplen: SetSnaplen,
    activate: Activate,
    compile: Compile,
    geterr: GetError,
    freecode: FreeCode,
    close: Close,
    #[cfg(test)]
    filter: Filter,
}

/// Before 1.8 `pcap_compile` kept its state in variables of the process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The library, once it was found.
pub(super) fn library() -> Result<&'static Library, FilterError> {
    static LOADED: OnceLock<Result<Library, String>> = OnceLock::new();
    let loaded = LOADED.get_or_init(|| load(&NAMES));
    loaded.as_ref().map_err(|why| FilterError::NoLibpcap { why: why.clone() })
}

fn load(names: &[&CStr]) -> Result<Library, String> {
    let mut why = String::new();
    for name in names {
        // SAFETY: the name is a C string; what runs is libpcap's own start, which has none to speak of.
        match NonNull::new(unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) }) {
            Some(opened) => return functions(opened),
            None if why.is_empty() => why = last_error(),
            None => {}
        }
    }
    Err(why)
}

fn functions(opened: NonNull<c_void>) -> Result<Library, String> {
    macro_rules! function {
        ($name:literal, $kind:ty) => {{
            let found = symbol(opened, $name)?;
            // SAFETY: `pcap/pcap.h` declares the function of this name as the field's type says; it stays, as the
            // library is never closed.
            unsafe { std::mem::transmute::<NonNull<c_void>, $kind>(found) }
        }};
    }
    Ok(Library {
        open_dead: function!(c"pcap_open_dead", OpenDead),
        create: function!(c"pcap_create", Create),
        set_snaplen: function!(c"pcap_set_snaplen", SetSnaplen),
        activate: function!(c"pcap_activate", Activate),
        compile: function!(c"pcap_compile", Compile),
        geterr: function!(c"pcap_geterr", GetError),
        freecode: function!(c"pcap_freecode", FreeCode),
        close: function!(c"pcap_close", Close),
        #[cfg(test)]
        filter: function!(c"bpf_filter", Filter),
    })
}

fn symbol(opened: NonNull<c_void>, name: &CStr) -> Result<NonNull<c_void>, String> {
    // SAFETY: `opened` came from dlopen and was never closed; the name is a C string.
    NonNull::new(unsafe { libc::dlsym(opened.as_ptr(), name.as_ptr()) }).ok_or_else(last_error)
}

fn last_error() -> String {
    // SAFETY: the text, if there is one, is this thread's until its next call of these functions.
    let text = unsafe { NonNull::new(libc::dlerror()).map(|text| CStr::from_ptr(text.as_ptr())) };
    text.map_or_else(|| "no reason given".to_owned(), |text| text.to_string_lossy().into_owned())
}

/// A handle of libpcap's, closed when it goes.
pub(super) struct Compiler<'a> {
    library: &'a Library,
    handle: NonNull<c_void>,
}

impl<'a> Compiler<'a> {
    /// For packets of files of a link type (a `DLT_` number).
    pub(super) fn dead(library: &'a Library, dlt: i32, snaplen: i32) -> Result<Self, String> {
        // SAFETY: takes numbers only; an unknown link type is told when compiling.
        let handle = NonNull::new(unsafe { (library.open_dead)(dlt, snaplen) });
        handle.map(|handle| Self { library, handle }).ok_or_else(|| "out of memory".to_owned())
    }

    /// For packets of an interface of this thread's network namespace, which must be up.
    pub(super) fn live(library: &'a Library, interface: &CStr, snaplen: i32) -> Result<Self, String> {
        let mut error: [c_char; ERROR_BYTES] = [0; ERROR_BYTES];
        // SAFETY: the name is a C string, and the other buffer has the size that the function asks for.
        let handle = NonNull::new(unsafe { (library.create)(interface.as_ptr(), error.as_mut_ptr()) });
        let Some(handle) = handle else { return Err(text_of(&error)) };
        let compiler = Self { library, handle };
        // SAFETY: the handle is open and not activated yet.
        let done = unsafe {
            (library.set_snaplen)(handle.as_ptr(), snaplen);
            (library.activate)(handle.as_ptr())
        };
        // Above 0 are warnings.
        if done < 0 { Err(compiler.error()) } else { Ok(compiler) }
    }

    /// The instructions of a filter, or libpcap's words about it.
    pub(super) fn compile(&self, text: &CStr) -> Result<Vec<Instruction>, String> {
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let mut raw = RawProgram { len: 0, instructions: std::ptr::null_mut() };
        // SAFETY: the handle is open, the text a C string, and `raw` is filled in only on success.
        let done = unsafe {
            (self.library.compile)(self.handle.as_ptr(), &raw mut raw, text.as_ptr(), 1, NETMASK_UNKNOWN)
        };
        if done < 0 {
            return Err(self.error());
        }
        let len = usize::try_from(raw.len).unwrap_or(usize::MAX).min(INSTRUCTIONS_COPIED_MAX);
        let instructions = match NonNull::new(raw.instructions) {
            // SAFETY: on success it points to `raw.len` instructions, which are freed only below.
            Some(first) => unsafe { std::slice::from_raw_parts(first.as_ptr(), len) }.to_vec(),
            None => Vec::new(),
        };
        // SAFETY: `raw` was filled in by libpcap, and is freed once.
        unsafe { (self.library.freecode)(&raw mut raw) };
        Ok(instructions)
    }

    fn error(&self) -> String {
        // SAFETY: the handle is open; the text is inside of it, ends with 0, and is copied at once.
        let text = unsafe { CStr::from_ptr((self.library.geterr)(self.handle.as_ptr())) };
        text.to_string_lossy().into_owned()
    }
}

impl Drop for Compiler<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and nobody has it but us.
        unsafe { (self.library.close)(self.handle.as_ptr()) };
    }
}

fn text_of(buffer: &[c_char]) -> String {
    let bytes: Vec<u8> =
        buffer.iter().map(|byte| byte.cast_unsigned()).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A text for libpcap; `None` if it has a 0 inside.
pub(super) fn c_text(text: &str) -> Option<CString> {
    CString::new(text).ok()
}

#[cfg(test)]
impl Library {
    /// libpcap's own interpreter.
    pub(super) fn run(&self, program: &super::Program, bytes: &[u8], wire_len: u32) -> u32 {
        let len = u32::try_from(bytes.len()).unwrap();
        // SAFETY: the program was checked, and the bytes are as many as said.
        unsafe { (self.filter)(program.instructions().as_ptr(), bytes.as_ptr(), wire_len, len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_libpcap_is_told_the_package() {
        let why = load(&[c"libpcap-that-is-not-here.so"]).unwrap_err();
        assert!(why.contains("libpcap-that-is-not-here.so"), "{why}");
        let told = FilterError::NoLibpcap { why }.to_string();
        assert!(told.contains("apt install libpcap0.8"), "{told}");
    }
}
