# Asks the operator's interpreter for everything that a guest needs of it: run once, outside of the sandbox, before any program.
# Standard input holds the guests' sources, separated by zero bytes; standard output gets one line of JSON, the code marshalled.

import json
import marshal
import os
import struct
import sys
import sysconfig

executable = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
folders = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
folders.update(path for path in sys.path if os.path.isdir(path) and not path.endswith("-packages"))
folders = {os.path.realpath(path) for path in folders if path and os.path.isdir(path)}

# Every library that the standard modules load: load them and look.
for name in ("_bz2 _ctypes _decimal _hashlib _lzma _sqlite3 _ssl _uuid array binascii cmath fcntl math mmap pyexpat resource select "
             "unicodedata zlib").split():
    try:
        __import__(name)
    except ImportError:
        pass
try:
    import ctypes
    ctypes.CDLL("libgcc_s.so.1")
except (ImportError, OSError):
    pass

paths = set(folders)
with open("/proc/self/maps") as maps:
    mapped = {line.split(None, 5)[5].rstrip("\n") for line in maps if line.count("/")}
for library in mapped:
    folder = os.path.dirname(library)
    if ".so" not in os.path.basename(library) or any(folder == within or folder.startswith(within + "/") for within in folders):
        continue
    paths.add(library)
    # The names under which the loader asks for it.
    for name in os.listdir(folder):
        link = os.path.join(folder, name)
        if ".so" in name and os.path.islink(link) and os.path.realpath(link) == os.path.realpath(library):
            paths.add(link)


def loader(program):
    """The dynamic loader that a program names in its ELF header."""
    with open(program, "rb") as file:
        header = file.read(64)
        if header[:5] != b"\x7fELF\x02":
            return None
        order = "<" if header[5] == 1 else ">"
        start, = struct.unpack_from(order + "Q", header, 32)
        size, count = struct.unpack_from(order + "HH", header, 54)
        for number in range(count):
            file.seek(start + number * size)
            kind, _, offset, _, _, length, _, _ = struct.unpack(order + "IIQQQQQQ", file.read(56))
            if kind == 3:
                file.seek(offset)
                return file.read(length).rstrip(b"\0").decode()
    return None


paths.add(executable)
paths.add(loader(executable))
for alias in ("/lib", "/lib64", "/lib32", "/usr/lib64"):
    if os.path.islink(alias):
        target = os.path.realpath(alias)
        if any(path and path.startswith(target + "/") for path in paths):
            paths.add(alias)
if os.path.exists("/etc/ld.so.cache"):
    paths.add("/etc/ld.so.cache")
paths.discard(None)

# A plain link to a library's folder would bring the whole folder: only the link itself is wanted.
links = sorted(path for path in paths if os.path.islink(path) and os.path.isdir(path))
paths.difference_update(links)
sources = sys.stdin.buffer.read().decode().split("\0")
code = [marshal.dumps(compile(source, "<guest>", "exec", dont_inherit=True)).hex() for source in sources]
print(json.dumps({
    "version": "%d.%d.%d" % sys.version_info[:3],
    "implementation": sys.implementation.name,
    "executable": executable,
    "paths": sorted(paths),
    "links": links,
    "code": code,
}))
