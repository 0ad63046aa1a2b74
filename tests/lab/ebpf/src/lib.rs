//! The lab datapath.
#![no_std]
