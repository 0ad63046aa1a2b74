//! The hooks on real interfaces and sockets, in network namespaces made for the purpose.

mod chains;
mod cpu;
mod interfaces;
mod place;
mod tcp;
