//! Commands of our own on DPDK's telemetry socket. Registered by the control thread; answered on threads that
//! DPDK makes for its clients, which are neither lcores nor the control thread and may wait a little.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use dpdk_sys as sys;

use crate::eal::Eal;
use crate::errno::Errno;

/// What a command answers. DPDK takes no more than [`MOST_FIELDS`] fields and [`MOST_NAMES`] names, and leaves out
/// what is beyond.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A dictionary. Names are of letters, digits, `_` and `/`; other characters become `_`.
    Fields(Vec<(String, Field)>),
    /// A list of strings.
    Names(Vec<String>),
}

/// A value of a dictionary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// A number.
    Number(u64),
    /// A text, of which DPDK takes 127 octets.
    Text(String),
}

/// Fields that a dictionary has at most.
pub const MOST_FIELDS: usize = sys::RTE_TEL_MAX_DICT_ENTRIES as usize;
/// Names that a list has at most.
pub const MOST_NAMES: usize = sys::RTE_TEL_MAX_ARRAY_ENTRIES as usize;

/// Answers a command; its argument is what stands behind a comma. `None` is answered as `null`.
type Answer = dyn Fn(Option<&str>) -> Option<Reply> + Send + Sync;

/// The commands by name. DPDK has no way to take one back, so one that is withdrawn stays without an answer.
static COMMANDS: Mutex<BTreeMap<&'static CStr, Option<Arc<Answer>>>> = Mutex::new(BTreeMap::new());

/// A command that is answered until this is dropped.
#[derive(Debug)]
pub struct Command(&'static CStr);

/// Answers a command such as `/getvpn/sa` on the telemetry socket, if this EAL has one.
///
/// # Errors
/// DPDK refuses the name, or has a command of that name.
pub fn register(
    _eal: &Eal,
    name: &'static CStr,
    help: &CStr,
    answer: impl Fn(Option<&str>) -> Option<Reply> + Send + Sync + 'static,
) -> Result<Command, Errno> {
    let mut commands = COMMANDS.lock().unwrap_or_else(PoisonError::into_inner);
    if !commands.contains_key(name) {
        // SAFETY: both strings end with a NUL and are copied; on_command is a function for ever.
        Errno::check(unsafe {
            sys::rte_telemetry_register_cmd(name.as_ptr(), Some(on_command), help.as_ptr())
        })?;
    }
    commands.insert(name, Some(Arc::new(answer)));
    Ok(Command(name))
}

impl Drop for Command {
    fn drop(&mut self) {
        let mut commands = COMMANDS.lock().unwrap_or_else(PoisonError::into_inner);
        commands.insert(self.0, None);
    }
}

/// What DPDK calls for each of the commands. Answers -1, which DPDK shows as `null`, when there is no answer; a
/// panic ends here.
unsafe extern "C" fn on_command(
    name: *const c_char,
    argument: *const c_char,
    data: *mut sys::rte_tel_data,
) -> c_int {
    let answered = catch_unwind(AssertUnwindSafe(|| {
        if name.is_null() || data.is_null() {
            return None;
        }
        // SAFETY: DPDK gives a string that ends with a NUL and lives as long as this call.
        let name = unsafe { CStr::from_ptr(name) };
        // SAFETY: as above, when there is one.
        let argument = (!argument.is_null()).then(|| unsafe { CStr::from_ptr(argument) });
        let argument = argument.map(|argument| argument.to_string_lossy());
        let answer = answer_of(name)?;
        let reply = answer(argument.as_deref().filter(|argument| !argument.is_empty()))?;
        // SAFETY: data is DPDK's, for this call and this thread.
        unsafe { fill(data, &reply) }
    }));
    answered.ok().flatten().map_or(-1, |()| 0)
}

/// Taken out, so that a command that waits holds up no other one.
fn answer_of(name: &CStr) -> Option<Arc<Answer>> {
    COMMANDS.lock().unwrap_or_else(PoisonError::into_inner).get(name)?.clone()
}

/// # Safety
/// `data` is what DPDK gave to a command that is being answered.
unsafe fn fill(data: *mut sys::rte_tel_data, reply: &Reply) -> Option<()> {
    match reply {
        Reply::Names(names) => {
            // SAFETY: by the caller; the array is begun before anything is added.
            Errno::check(unsafe { sys::rte_tel_data_start_array(data, sys::RTE_TEL_STRING_VAL) }).ok()?;
            for name in names.iter().take(MOST_NAMES) {
                let name = CString::new(name.as_str()).ok()?;
                // SAFETY: by the caller; the string is copied.
                unsafe { sys::rte_tel_data_add_array_string(data, name.as_ptr()) };
            }
        }
        Reply::Fields(fields) => {
            // SAFETY: by the caller; the dictionary is begun before anything is added.
            Errno::check(unsafe { sys::rte_tel_data_start_dict(data) }).ok()?;
            for (name, field) in fields.iter().take(MOST_FIELDS) {
                let plain = |c: char| if c.is_ascii_alphanumeric() || "_/".contains(c) { c } else { '_' };
                let name = CString::new(name.chars().map(plain).collect::<String>()).ok()?;
                match field {
                    // SAFETY: by the caller; the name is copied.
                    Field::Number(n) => unsafe { sys::shim_tel_data_add_dict_u64(data, name.as_ptr(), *n) },
                    Field::Text(text) => {
                        let text = CString::new(text.as_str()).ok()?;
                        // SAFETY: by the caller; both strings are copied.
                        unsafe { sys::rte_tel_data_add_dict_string(data, name.as_ptr(), text.as_ptr()) }
                    }
                };
            }
        }
    }
    Some(())
}
