//! One compiled rule set of the ACL library. Built by a control thread, read by workers.

use std::ptr::{self, NonNull};
use std::sync::Arc;

use dpdk_sys as sys;

use crate::eal::{Guard, NotInitialised};
use crate::errno::Errno;
use crate::mempool::unique_name;

/// Why rules cannot be compiled. `rule` is the index of the one at fault.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AclError {
    /// EAL is not running.
    #[error(transparent)]
    NotInitialised(#[from] NotInitialised),
    /// A prefix is longer than an address.
    #[error("rule {rule}: /{length} is longer than an address")]
    Prefix {
        /// Which rule.
        rule: usize,
        /// Its prefix length.
        length: u8,
    },
    /// A port range ends before it begins.
    #[error("rule {rule}: the ports {low} to {high} are no range")]
    Ports {
        /// Which rule.
        rule: usize,
        /// The least port.
        low: u16,
        /// The greatest port.
        high: u16,
    },
    /// More rules than the library can tell apart.
    #[error("too many rules")]
    TooMany,
    /// DPDK refused, mostly for lack of memory.
    #[error("cannot compile {rules} rules: {errno}; reserve more hugepages or raise EAL's -m")]
    Refused {
        /// How many rules.
        rules: usize,
        /// DPDK's reason.
        errno: Errno,
    },
}

/// How many keys go to the library in one call.
const CHUNK: usize = 32;

/// How the library shall read one field of a key.
#[derive(Clone, Copy)]
pub(super) struct Field {
    kind: u32,
    size: u8,
    offset: u32,
    input: u8,
}

impl Field {
    /// One octet, compared under a mask.
    pub(super) const fn bits(offset: u32, size: u8, input: u8) -> Field {
        Field { kind: sys::RTE_ACL_FIELD_TYPE_BITMASK, size, offset, input }
    }

    /// Four octets, compared by prefix.
    pub(super) const fn mask(offset: u32, input: u8) -> Field {
        Field { kind: sys::RTE_ACL_FIELD_TYPE_MASK, size: 4, offset, input }
    }

    /// Two octets, within a range. Two neighbours share an input of four octets.
    pub(super) const fn range(offset: u32, input: u8) -> Field {
        Field { kind: sys::RTE_ACL_FIELD_TYPE_RANGE, size: 2, offset, input }
    }
}

/// A rule as the library takes it (`RTE_ACL_RULE_DEF`).
#[repr(C)]
pub(super) struct RawRule<const FIELDS: usize> {
    data: sys::rte_acl_rule_data,
    fields: [sys::rte_acl_field; FIELDS],
}

impl<const FIELDS: usize> RawRule<FIELDS> {
    /// The rule at `index`, which takes precedence over those behind it.
    pub(super) fn new(index: usize, fields: [sys::rte_acl_field; FIELDS]) -> Result<Self, AclError> {
        let precedence = u32::try_from(index)
            .ok()
            .and_then(|index| sys::RTE_ACL_MAX_PRIORITY.checked_sub(index))
            .and_then(|precedence| i32::try_from(precedence).ok())
            .filter(|&precedence| precedence >= 1)
            .ok_or(AclError::TooMany)?;
        let userdata = u32::try_from(index + 1).map_err(|_| AclError::TooMany)?;
        let data = sys::rte_acl_rule_data { category_mask: 1, priority: precedence, userdata };
        Ok(RawRule { data, fields })
    }
}

/// A protocol, or any.
pub(super) fn bits(value: Option<u8>) -> sys::rte_acl_field {
    let mut field = sys::rte_acl_field::default();
    field.value.u8_ = value.unwrap_or(0);
    field.mask_range.u8_ = if value.is_some() { u8::MAX } else { 0 };
    field
}

/// The first `length` (0 to 32) bits of a word.
pub(super) fn mask(word: u32, length: u8) -> sys::rte_acl_field {
    let mut field = sys::rte_acl_field::default();
    field.value.u32_ = word & u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
    field.mask_range.u32_ = u32::from(length);
    field
}

/// A range of ports, both ends in it.
pub(super) fn range((low, high): (u16, u16), rule: usize) -> Result<sys::rte_acl_field, AclError> {
    if low > high {
        return Err(AclError::Ports { rule, low, high });
    }
    let mut field = sys::rte_acl_field::default();
    field.value.u16_ = low;
    field.mask_range.u16_ = high;
    Ok(field)
}

/// A compiled rule set.
#[derive(Debug)]
pub(super) struct Context<const FIELDS: usize> {
    raw: NonNull<sys::rte_acl_ctx>,
    guard: Arc<Guard>,
}

// SAFETY: once built, a context is only read, and freed by its owner through the control lock.
unsafe impl<const FIELDS: usize> Send for Context<FIELDS> {}
// SAFETY: as above.
unsafe impl<const FIELDS: usize> Sync for Context<FIELDS> {}

impl<const FIELDS: usize> Context<FIELDS> {
    pub(super) fn build(rules: Vec<RawRule<FIELDS>>, layout: &[Field; FIELDS]) -> Result<Self, AclError> {
        let guard = Guard::current()?;
        let refused = |errno| AclError::Refused { rules: rules.len(), errno };
        let count = u32::try_from(rules.len()).map_err(|_| AclError::TooMany)?;
        let rule_size = u32::try_from(size_of::<RawRule<FIELDS>>()).map_err(|_| AclError::TooMany)?;
        let name = unique_name("acl");
        let parameters = sys::rte_acl_param {
            name: name.as_ptr(),
            // Any NUMA node: one set serves all workers.
            socket_id: -1,
            rule_size,
            max_rule_num: count,
        };

        let control = guard.control();
        // SAFETY: the parameters and the name are read during the call only.
        let raw = unsafe { sys::rte_acl_create(&raw const parameters) };
        let Some(raw) = NonNull::new(raw) else { return Err(refused(Errno::last())) };
        drop(control);
        let context = Context { raw, guard };

        // SAFETY: the rules are count values of rule_size octets each and laid out as the library's
        // (repr(C), the fields behind the data); they are copied. The context is nobody else's yet.
        Errno::check(unsafe { sys::rte_acl_add_rules(raw.as_ptr(), rules.as_ptr().cast(), count) })
            .map_err(refused)?;
        let config = configuration(layout);
        // SAFETY: the configuration is read during the call only; the context is nobody else's yet.
        Errno::check(unsafe { sys::rte_acl_build(raw.as_ptr(), &raw const config) }).map_err(refused)?;
        Ok(context)
    }

    /// Classifies each key of the shorter of both slices.
    ///
    /// # Safety
    /// The layout that this was built with must lie within `Key`, and within its initialised octets.
    #[inline]
    pub(super) unsafe fn classify<Key>(&self, keys: &[Key], out: &mut [u32]) {
        for (keys, out) in keys.chunks(CHUNK).zip(out.chunks_mut(CHUNK)) {
            let mut pointers = [ptr::null::<u8>(); CHUNK];
            let n = keys.len().min(out.len());
            for (pointer, key) in pointers.iter_mut().zip(keys) {
                *pointer = ptr::from_ref(key).cast();
            }
            // Fits: a chunk is short.
            #[allow(clippy::cast_possible_truncation)]
            let count = n as u32;
            // SAFETY: the first n pointers are keys, which the library reads only where the layout says,
            // by the caller's promise; out has n places. The context is built and not changed any more.
            // The call only fails for a number of categories that is none.
            unsafe {
                sys::rte_acl_classify(self.raw.as_ptr(), pointers.as_mut_ptr(), out.as_mut_ptr(), count, 1);
            }
        }
    }
}

impl<const FIELDS: usize> Drop for Context<FIELDS> {
    fn drop(&mut self) {
        let _control = self.guard.control();
        // SAFETY: the context is this value's and nobody can classify with it any more.
        unsafe { sys::rte_acl_free(self.raw.as_ptr()) };
    }
}

fn configuration<const FIELDS: usize>(layout: &[Field; FIELDS]) -> sys::rte_acl_config {
    let mut config = sys::rte_acl_config { num_categories: 1, ..Default::default() };
    for (index, (definition, field)) in (0u8..).zip(config.defs.iter_mut().zip(layout)) {
        // Fits: the kinds are 0 to 2.
        #[allow(clippy::cast_possible_truncation)]
        let kind = field.kind as u8;
        *definition = sys::rte_acl_field_def {
            type_: kind,
            size: field.size,
            field_index: index,
            input_index: field.input,
            offset: field.offset,
        };
        config.num_fields += 1;
    }
    config
}
