//! What may stay in an eBPF object: code, maps and BTF. Debug information goes, and so does any
//! object that names a folder of the machine that built it.

use anyhow::Context as _;
use object::build::elf::{Builder, SectionData};
use object::elf::SHT_STRTAB;

/// The object without its `.debug_*` sections and their relocations; BTF stays.
pub fn strip_debug_sections(data: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut builder = Builder::read(data).context("not an ELF object")?;
    for section in &mut builder.sections {
        let name = section.name.as_slice();
        if name.starts_with(b".debug_") || name.starts_with(b".rel.debug_") {
            section.delete = true;
        }
    }
    builder.delete_orphans();
    add_section_names(&mut builder);
    let mut stripped = Vec::new();
    builder
        .write(&mut stripped)
        .context("could not write the stripped object")?;
    Ok(stripped)
}

/// LLVM keeps the names of sections and symbols in one table, which the writer cannot: it wants
/// the sections' names in a table of their own.
fn add_section_names(builder: &mut Builder<'_>) {
    let has_names = builder
        .sections
        .iter()
        .any(|section| matches!(section.data, SectionData::SectionString));
    if !has_names {
        let names = builder.sections.add();
        names.name = b".shstrtab".as_slice().into();
        names.sh_type = SHT_STRTAB;
        names.sh_addralign = 1;
        names.data = SectionData::SectionString;
    }
}

/// The first string in the object that is an absolute path of a machine.
pub fn machine_path(data: &[u8]) -> Option<String> {
    const ROOTS: [&str; 8] = [
        "/home/", "/root/", "/usr/", "/Users/", "/tmp/", "/opt/", "/var/", "/work",
    ];
    let mut folders: Vec<String> = ROOTS.map(str::to_owned).to_vec();
    folders.push(format!("{}/", crate::command::workspace_root().display()));
    // Strings of ELF and BTF string tables and of constants: runs of printable characters.
    data.split(|byte| !(0x20..0x7f).contains(byte))
        .filter_map(|run| std::str::from_utf8(run).ok())
        .find(|text| folders.iter().any(|folder| text.contains(folder.as_str())))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::machine_path;

    fn check(data: &[u8], expected: Option<&str>) {
        assert_eq!(machine_path(data).as_deref(), expected);
    }

    #[test]
    fn folders_of_the_building_machine_are_found() {
        for path in [
            concat!("/ho", "me/someone/lib.rs"),
            concat!("/ro", "ot/.cargo/registry/a.rs"),
        ] {
            let object = format!("\u{7f}ELF\0main\0{path}\0");
            check(object.as_bytes(), Some(path));
        }
    }

    #[test]
    fn mapped_paths_pass() {
        check(
            b"\0weighbridge/probe-ebpf/src/main.rs\0rust/library/core/src/lib.rs\0",
            None,
        );
    }
}
