//! The few bpf(2) and membarrier(2) calls that aya does not offer: batches, recursion misses, and
//! waiting until no program still runs.
//!
//! Layouts are those of `union bpf_attr`, include/uapi/linux/bpf.h.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    time::Duration,
};

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
/// Flag of an update: only where there is no such key.
const BPF_NOEXIST: u64 = 1;
const BPF_MAP_LOOKUP_AND_DELETE_ELEM: libc::c_long = 21;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_PROG_QUERY: libc::c_long = 16;
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;
const BPF_MAP_DELETE_BATCH: libc::c_long = 27;
/// `bpf_attach_type` of a tcx chain's ingress.
pub const BPF_TCX_INGRESS: u32 = 46;
/// And of its egress.
pub const BPF_TCX_EGRESS: u32 = 47;
const MEMBARRIER_CMD_GLOBAL: libc::c_long = 1;
/// Entries asked for in one call: few at first, since most maps are nearly empty and room for many
/// costs a page fault each interval for every page of it, and more as a map turns out to be large.
const FIRST_BATCH: usize = 256;
const LARGEST_BATCH: usize = 8192;
/// How long to wait where membarrier is refused (nohz_full kernels): far longer than a program
/// can run.
const GRACE: Duration = Duration::from_millis(100);

#[repr(C)]
#[derive(IntoBytes, FromZeros, Immutable)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Reads every entry of a map whose cursor is 32 bits wide: hashes and arrays.
///
/// `value_copies` is the number of possible CPUs for a per-CPU map, else 1; `start` the cursor to
/// begin behind, `limit` how many entries at most.
pub fn lookup_all<K, V>(
    map: BorrowedFd<'_>,
    value_copies: usize,
    start: Option<u32>,
    limit: usize,
) -> io::Result<(Vec<K>, Vec<V>)>
where
    K: FromBytes + Clone,
    V: FromBytes + Clone,
{
    let mut keys: Vec<K> = Vec::new();
    let mut values: Vec<V> = Vec::new();
    let mut cursor = start.unwrap_or_default();
    let mut begun = start.is_some();
    let mut batch = FIRST_BATCH;
    while keys.len() < limit {
        let room = batch.min(limit - keys.len());
        let known = keys.len();
        keys.resize(known + room, K::new_zeroed());
        values.resize((known + room) * value_copies, V::new_zeroed());
        let mut next = 0u32;
        let mut attr = BatchAttr {
            in_batch: if begun { &raw const cursor as u64 } else { 0 },
            out_batch: &raw mut next as u64,
            keys: keys[known..].as_mut_ptr() as u64,
            values: values[known * value_copies..].as_mut_ptr() as u64,
            count: room as u32,
            map_fd: map.as_raw_fd() as u32,
            elem_flags: 0,
            flags: 0,
        };
        // SAFETY: the pointers lead to `room` keys and values, which accept any bytes, and to a
        // cursor of the width that hashes and arrays use.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_MAP_LOOKUP_BATCH,
                &raw mut attr,
                size_of::<BatchAttr>(),
            )
        };
        let error = (result != 0).then(io::Error::last_os_error);
        let found = match &error {
            Some(error) if error.raw_os_error() != Some(libc::ENOENT) => 0,
            _ => attr.count as usize,
        };
        keys.truncate(known + found);
        values.truncate((known + found) * value_copies);
        match error {
            None => {}
            Some(error) if error.raw_os_error() == Some(libc::ENOENT) => break,
            // A hash bucket holds more entries than there is room for: the same place again.
            Some(error) if error.raw_os_error() == Some(libc::ENOSPC) && batch < LARGEST_BATCH => {
                batch = LARGEST_BATCH;
                continue;
            }
            Some(error) => return Err(error),
        }
        batch = (batch * 4).min(LARGEST_BATCH);
        cursor = next;
        begun = true;
    }
    Ok((keys, values))
}

/// Deletes entries; those already gone do not matter.
pub fn delete_all<K: IntoBytes + Immutable>(map: BorrowedFd<'_>, keys: &[K]) -> io::Result<()> {
    let mut rest = keys;
    while !rest.is_empty() {
        let mut attr = BatchAttr {
            in_batch: 0,
            out_batch: 0,
            keys: rest.as_ptr() as u64,
            values: 0,
            count: rest.len() as u32,
            map_fd: map.as_raw_fd() as u32,
            elem_flags: 0,
            flags: 0,
        };
        // SAFETY: `keys` leads to `count` keys.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_MAP_DELETE_BATCH,
                &raw mut attr,
                size_of::<BatchAttr>(),
            )
        };
        if result == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::ENOENT) {
            return Err(error);
        }
        // `count` deletions went well before the key that was not there.
        rest = &rest[(attr.count as usize + 1).min(rest.len())..];
    }
    Ok(())
}

/// Reads the entries of the keys; those that are not there do not matter.
pub fn lookup_each<K, V>(map: BorrowedFd<'_>, keys: &[K]) -> io::Result<Vec<(K, V)>>
where
    K: IntoBytes + Immutable + Clone,
    V: FromBytes,
{
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        let mut value = V::new_zeroed();
        // SAFETY: key and value are as long as the map's, and the value accepts any bytes.
        let result = unsafe {
            element(
                BPF_MAP_LOOKUP_ELEM,
                map,
                key.as_bytes().as_ptr() as u64,
                &raw mut value as u64,
                0,
            )
        };
        match result {
            Ok(()) => found.push((key.clone(), value)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Reads an entry of a hash and deletes it in one step (kernel 5.14); none where there is none.
pub fn take<K, V>(map: BorrowedFd<'_>, key: &K) -> io::Result<Option<V>>
where
    K: IntoBytes + Immutable,
    V: FromBytes,
{
    let mut value = V::new_zeroed();
    let (key, at) = (key.as_bytes().as_ptr() as u64, &raw mut value as u64);
    // SAFETY: key and value are as long as the map's, and the value accepts any bytes.
    match unsafe { element(BPF_MAP_LOOKUP_AND_DELETE_ELEM, map, key, at, 0) } {
        Ok(()) => Ok(Some(value)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts an entry into a hash that has none of its key. False where it has.
pub fn put_back<K, V>(map: BorrowedFd<'_>, key: &K, value: &V) -> io::Result<bool>
where
    K: IntoBytes + Immutable,
    V: IntoBytes + Immutable,
{
    let key = key.as_bytes().as_ptr() as u64;
    let value = value.as_bytes().as_ptr() as u64;
    // SAFETY: key and value are as long as the map's.
    match unsafe { element(BPF_MAP_UPDATE_ELEM, map, key, value, BPF_NOEXIST) } {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Puts a descriptor into an array of descriptors.
pub fn set_descriptor(map: BorrowedFd<'_>, index: u32, value: BorrowedFd<'_>) -> io::Result<()> {
    let number = value.as_raw_fd();
    // SAFETY: key and value lead to four bytes each, as such a map has them.
    unsafe {
        element(
            BPF_MAP_UPDATE_ELEM,
            map,
            &raw const index as u64,
            &raw const number as u64,
            0,
        )
    }
}

/// A call on one entry of a map.
///
/// # Safety
///
/// `key` and `value` must lead to as many bytes as the map's keys and values have.
unsafe fn element(
    command: libc::c_long,
    map: BorrowedFd<'_>,
    key: u64,
    value: u64,
    flags: u64,
) -> io::Result<()> {
    #[repr(C)]
    #[derive(IntoBytes, Immutable)]
    struct ElementAttr {
        map_fd: u32,
        padding: u32,
        key: u64,
        value: u64,
        flags: u64,
    }
    let mut attr = ElementAttr {
        map_fd: map.as_raw_fd() as u32,
        padding: 0,
        key,
        value,
        flags,
    };
    // SAFETY: the caller vouches for key and value.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            &raw mut attr,
            size_of::<ElementAttr>(),
        )
    };
    if result == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}

/// Waits until every eBPF program that was running when this was called has ended.
///
/// `MEMBARRIER_CMD_GLOBAL` is `synchronize_rcu` (kernel/sched/membarrier.c), and programs run
/// inside RCU read-side sections.
pub fn wait_for_programs() {
    // SAFETY: the call takes no pointers.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    // With one CPU online membarrier returns at once, and a preempted program may still run.
    // SAFETY: the call takes no pointers.
    let is_alone = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) } <= 1;
    if result != 0 || is_alone {
        std::thread::sleep(GRACE);
    }
}

/// A tcx chain of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TcxChain {
    /// Changes with every program that is put in or taken out.
    pub revision: u64,
    /// Ids of its programs, in the order in which they run.
    pub programs: Vec<u32>,
}

/// Asks for a tcx chain (kernel 6.6), `attach_type` being [`BPF_TCX_INGRESS`] or [`BPF_TCX_EGRESS`].
/// Ids are all it asks for: to open others' programs takes CAP_SYS_ADMIN, and this CAP_NET_ADMIN.
pub fn tcx_chain(index: u32, attach_type: u32) -> io::Result<TcxChain> {
    /// More programs than a chain can hold (BPF_MPROG_MAX, include/linux/bpf_mprog.h).
    const ROOM: usize = 64;
    #[repr(C)]
    #[derive(IntoBytes, FromZeros, Immutable)]
    struct QueryAttr {
        target_ifindex: u32,
        attach_type: u32,
        query_flags: u32,
        attach_flags: u32,
        prog_ids: u64,
        count: u32,
        padding: u32,
        prog_attach_flags: u64,
        link_ids: u64,
        link_attach_flags: u64,
        revision: u64,
    }
    let mut programs = vec![0u32; ROOM];
    let mut attr = QueryAttr {
        target_ifindex: index,
        attach_type,
        prog_ids: programs.as_mut_ptr() as u64,
        count: ROOM as u32,
        ..QueryAttr::new_zeroed()
    };
    // SAFETY: `prog_ids` has room for `count` ids.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_QUERY,
            &raw mut attr,
            size_of::<QueryAttr>(),
        )
    };
    if result != 0 {
        let error = io::Error::last_os_error();
        // No program was ever attached there.
        return match error.raw_os_error() {
            Some(libc::ENOENT) => Ok(TcxChain::default()),
            _ => Err(error),
        };
    }
    programs.truncate(attr.count as usize);
    Ok(TcxChain {
        revision: attr.revision,
        programs,
    })
}

/// `recursion_misses` of `struct bpf_prog_info` (kernel 5.12).
pub fn recursion_misses(program: BorrowedFd<'_>) -> Option<u64> {
    /// Offset of the field, and enough room for it.
    const OFFSET: usize = 208;
    #[repr(C)]
    #[derive(IntoBytes, Immutable)]
    struct InfoAttr {
        bpf_fd: u32,
        info_len: u32,
        info: u64,
    }
    let mut info = [0u8; 256];
    let mut attr = InfoAttr {
        bpf_fd: program.as_raw_fd() as u32,
        info_len: (OFFSET + 8) as u32,
        info: info.as_mut_ptr() as u64,
    };
    // SAFETY: `info` has room for `info_len` bytes.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_OBJ_GET_INFO_BY_FD,
            &raw mut attr,
            size_of::<InfoAttr>(),
        )
    };
    if result != 0 || (attr.info_len as usize) < OFFSET + 8 {
        return None;
    }
    u64::read_from_bytes(&info[OFFSET..OFFSET + 8]).ok()
}

/// Sets a network interface of the thread's namespace up (netdevice(7)).
pub fn set_up(interface: &str) -> io::Result<()> {
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0))?;
    // SAFETY: all of it may be zero.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let name = interface.as_bytes();
    if name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name) {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the request has a name that ends and the flags that the call reads.
    let result = unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS as _,
            &raw mut request,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
