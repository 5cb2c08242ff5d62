//! Hostile programs in the sandbox: none reaches anything, none passes, none slows its neighbours; and honest programs keep the
//! verdicts that they would have in one process.
#![cfg(target_os = "linux")]

use slm_benchmark::sandbox::{Execution, Isolation, Limits, Program, Sandbox, SandboxConfig, SandboxError, Verdict};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Put in front of every attempt: a way to make any system call, and the things of this machine that must stay out of reach.
const TOOLS: &str = r#"
import sys, posix
PORT, DECOY, SECRET, PARENT = @PORT@, @DECOY@, @SECRET@, @PARENT@
X86 = posix.uname().machine == "x86_64"
def call(number, *arguments):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_char_p(a) if isinstance(a, bytes) else ctypes.c_long(a) for a in arguments])
    return result
def works(function, *arguments):
    try:
        return function(*arguments)
    except (OSError, MemoryError, AttributeError, ImportError, ValueError):
        return None
def contents(path):
    try:
        descriptor = posix.open(path, 0)
        return posix.read(descriptor, 1 << 16)
    except OSError:
        return b""
"#;

/// Attempts to reach something: `got_out` says whether it worked. The test asserts that it did, so `passed` would be an escape.
const ATTEMPTS: &[(&str, &str)] = &[
    (
        "network: connect to this machine",
        "import _socket\ns = works(_socket.socket, 2, 1)\ngot_out = s is not None and works(s.connect, ('127.0.0.1', PORT)) is None and s.send(b'x') == 1",
    ),
    ("network: connect to the world", "import _socket\ns = works(_socket.socket, 2, 1)\ngot_out = s is not None"),
    (
        "network: IPv6, Unix, netlink, raw and packet sockets",
        "import _socket\ngot_out = any(works(_socket.socket, f, k) is not None for f, k in ((10, 1), (1, 1), (1, 2), (16, 3), (2, 3), (17, 3), (40, 1)))",
    ),
    ("network: datagram of a socket pair to an address", "import _socket\ngot_out = works(_socket.socketpair, 1, 2) is not None"),
    ("network: io_uring", "got_out = call(425, 8, b'\\0' * 120) >= 0"),
    (
        "DNS: resolve a name",
        "import _socket\ngot_out = works(_socket.getaddrinfo, 'example.org', 80) is not None or works(_socket.gethostbyname, 'example.org') is not None",
    ),
    (
        "DNS: ask a server",
        "import _socket\ns = works(_socket.socket, 2, 2)\ngot_out = s is not None and works(s.sendto, b'\\0\\1\\1\\0\\0\\1', ('9.9.9.9', 53)) is not None",
    ),
    ("files: read a file that all may read", "got_out = contents(DECOY) != b''"),
    (
        "files: read accounts and configuration",
        "got_out = any(contents(p) for p in ('/etc/passwd', '/etc/shadow', '/etc/hosts', '/etc/resolv.conf', '/etc/hostname', '/root/.bashrc', '/etc/os-release'))",
    ),
    ("files: up and out of the current folder", "got_out = any(contents('../' * n + DECOY[1:]) for n in range(12))"),
    (
        "files: symbolic link",
        "works(posix.symlink, DECOY, 'link')\nworks(posix.symlink, '/', 'root')\ngot_out = contents('link') != b'' or contents('root' + DECOY) != b''",
    ),
    ("files: hard link", "import os\ngot_out = works(os.link, DECOY, 'hard') is None and contents('hard') != b''"),
    (
        "files: write where others may write",
        "got_out = any(works(posix.open, p + '/hostile', 0o101, 0o666) is not None for p in ('/', '/var/tmp', '/dev/shm', '/run', '/etc', '/home', DECOY.rpartition('/')[0]))",
    ),
    (
        "files: change the decoy",
        "got_out = any(works(f) is not None for f in (lambda: posix.open(DECOY, 1), lambda: posix.open(DECOY, 0o1001))) or call(90 if X86 else 53, *((DECOY.encode(), 0) if X86 else (-100, DECOY.encode(), 0))) == 0 or call(76 if X86 else 45, DECOY.encode(), 0) == 0",
    ),
    (
        "files: change the interpreter's library",
        "import os\ngot_out = works(posix.open, os.__file__, 2) is not None or works(posix.open, os.__file__.rpartition('/')[0] + '/hostile.py', 0o101) is not None",
    ),
    (
        "files: by handle",
        "got_out = call(303 if X86 else 264, -100, DECOY.encode(), b'\\x80' + b'\\0' * 200, b'\\0' * 8, 0) == 0 or call(304 if X86 else 265, -100, b'\\x08' + b'\\0' * 200, 0) >= 0",
    ),
    (
        "files: devices",
        "got_out = any(contents(p) for p in ('/dev/mem', '/dev/kmsg', '/dev/vda', '/dev/sda', '/dev/tty', '/sys/kernel/uevent_seqnum', '/sys/class/dmi/id/product_name'))",
    ),
    (
        "files: make a device",
        "import os\ngot_out = works(posix.mknod, 'dev', 0o020666, 0x501) is None and contents('dev') is not None and os.path.exists('dev')",
    ),
    (
        "files: descriptors left open",
        "import stat\nfound = []\nfor n in range(3, 4096):\n    try:\n        mode = posix.fstat(n).st_mode\n        found.append((n, stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)))\n    except OSError:\n        pass\ngot_out = any(bad for _, bad in found) or len(found) > 2",
    ),
    (
        "/proc: other processes",
        "got_out = any(contents('/proc/%s/%s' % (p, f)) for p in ('self', '1', PARENT) for f in ('environ', 'cmdline', 'maps', 'mem', 'status'))",
    ),
    ("/proc: mount it", "got_out = call(165 if X86 else 40, b'proc', b'/tmp', b'proc', 0, 0) == 0 and contents('/tmp/self/status') != b''"),
    (
        "environment: every copy of it",
        "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.getenv.restype = ctypes.c_char_p\nallowed = {b'PYTHONHASHSEED', b'LC_CTYPE', b'OMP_NUM_THREADS'}\nraw = ctypes.POINTER(ctypes.c_char_p).in_dll(libc, 'environ')\nnames = set()\nn = 0\nwhile raw and raw[n]:\n    names.add(raw[n].split(b'=')[0]); n += 1\ngot_out = bool((names | set(posix.environ)) - allowed) or bool(libc.getenv(b'PATH') or libc.getenv(b'HOME'))",
    ),
    (
        "ptrace: the parents",
        "got_out = any(call(101 if X86 else 117, 16, p, 0, 0) == 0 for p in (posix.getppid(), PARENT, 1, 2)) or call(101 if X86 else 117, 0, 0, 0, 0) == 0",
    ),
    ("memory of the parents", "got_out = call(310 if X86 else 270, PARENT, b'\\0' * 16, 1, b'\\0' * 16, 1, 0) >= 0"),
    (
        "kill: everything",
        "got_out = any(call(62 if X86 else 129, p, s) == 0 for s in (0, 9, 15) for p in (-1, 1, PARENT, posix.getppid() or -1))",
    ),
    (
        "kill: by descriptor and by queue",
        "got_out = call(434, PARENT, 0) >= 0 or call(129 if X86 else 138, PARENT, 9, b'\\0' * 128) == 0 or call(234 if X86 else 131, PARENT, PARENT, 9) == 0 or call(200 if X86 else 130, PARENT, 9) == 0",
    ),
    (
        "kill: through the owner of a pipe",
        "import fcntl\nr, w = posix.pipe()\ngot_out = works(fcntl.fcntl, r, 8, PARENT) is not None or works(fcntl.fcntl, r, 10, 9) is not None",
    ),
    (
        "processes: fork bomb",
        "got_out = False\nfor _ in range(1000):\n    child = works(posix.fork)\n    if child is not None:\n        got_out = True\n        while True: works(posix.fork)",
    ),
    (
        "processes: clone, clone3 and vfork",
        "got_out = any(call(*c) >= 0 for c in ((56 if X86 else 220, 17, 0, 0, 0, 0), (435, b'\\0' * 88, 88))) or (X86 and (call(57) >= 0 or call(58) >= 0))",
    ),
    (
        "processes: a grandchild that stays",
        "import ctypes\ngot_out = False\nif works(posix.fork) == 0:\n    posix.setsid()\n    ctypes.CDLL(None).prctl(15, b'hostilekid')\n    import time\n    time.sleep(60)\n",
    ),
    (
        "processes: execute something",
        "got_out = False\nfor p in ('/bin/sh', '/usr/bin/env', '/bin/true', sys.executable):\n    works(posix.execv, p, [p, '-c', 'pass'])\n",
    ),
    (
        "processes: execute by descriptor",
        "got_out = False\nimport os\nfor n in (3, 5, 1000, 1001):\n    call(322 if X86 else 281, n, b'', 0, 0, 0x1000)\n",
    ),
    (
        "namespaces: unshare, setns, chroot, pivot_root",
        "got_out = any(call(272 if X86 else 97, f) == 0 for f in (0x10000000, 0x20000, 0x20000000, 0x40000000)) or call(161 if X86 else 51, b'/') == 0 or call(155 if X86 else 41, b'/', b'/') == 0 or call(308 if X86 else 268, 0, 0) == 0",
    ),
    (
        "kernel: bpf, perf, keys, userfaultfd, memfd, modules",
        "got_out = any(call(n, *a) >= 0 for n, a in (((321 if X86 else 280), (0, b'\\0' * 128, 128)), ((298 if X86 else 241), (b'\\0' * 128, 0, -1, -1, 0)), ((250 if X86 else 219), (0, -3, 0)), ((323 if X86 else 282), (0,)), ((319 if X86 else 279), (b'x', 0)), ((175 if X86 else 105), (b'', 0, b'')), ((169 if X86 else 142), (0xfee1dead - (1 << 32), 672274793, 0x1234567, 0))))",
    ),
    (
        "limits: raise them, slip the leash, jump the queue",
        "import ctypes\nlibc = ctypes.CDLL(None)\ngot_out = call(302 if X86 else 261, 0, 7, b'\\xff' * 16, 0) == 0 or call(302 if X86 else 261, PARENT, 7, 0, b'\\0' * 16) == 0 or libc.prctl(1, 0, 0, 0, 0) == 0 or call(141 if X86 else 140, 0, 0, -20) == 0 or call(203 if X86 else 122, 0, 8, b'\\xff' * 8) == 0 or call(144 if X86 else 119, 0, 1, b'\\1\\0\\0\\0') == 0",
    ),
    (
        "shared memory and queues of the machine",
        "got_out = call(29 if X86 else 194, 0x1234, 4096, 0o1666) >= 0 or call(68 if X86 else 186, 0x1234, 0o1666) >= 0 or call(64 if X86 else 190, 0x1234, 1, 0o1666) >= 0 or call(240 if X86 else 180, b'q', 0o102, 0o666, 0) >= 0",
    ),
    ("system calls of another architecture", "got_out = X86 and (call(0x40000000 + 41, 2, 1, 0) >= 0 or call(0x40000000 + 57) >= 0)"),
    (
        "system calls of 32 bits by machine code",
        "import ctypes, mmap\ngot_out = False\nif X86:\n    page = mmap.mmap(-1, 4096, prot=7)\n    # push rbx; mov eax, 359 (socket); mov ebx, 2; mov ecx, 1; xor edx, edx; int 0x80; pop rbx; ret\n    page.write(bytes.fromhex('53b867010000bb02000000b90100000031d2cd805bc3'))\n    address = ctypes.addressof(ctypes.c_char.from_buffer(page))\n    got_out = ctypes.CFUNCTYPE(ctypes.c_int)(address)() >= 0\n",
    ),
];

/// Programs that take what they can get. None may pass: each ends with a wrong answer even if it survives.
const GREEDY: &[(&str, &str)] = &[
    ("memory: touch all of it", "hoard = []\nwhile True:\n    hoard.append(bytearray(1 << 24))\n"),
    ("memory: one huge list", "hoard = [0] * (1 << 40)\n"),
    (
        "memory: survive and go on",
        "hoard = []\ntry:\n    while True: hoard.append(bytearray(1 << 24))\nexcept MemoryError:\n    pass\ndef add(a, b): return bytearray(1 << 24)\n",
    ),
    ("disk: one large file", "data = b'x' * (1 << 20)\nwith open('fill', 'wb') as f:\n    while True: f.write(data)\n"),
    (
        "disk: many files",
        "data = b'x' * (1 << 20)\nn = 0\nwhile True:\n    n += 1\n    try:\n        with open('fill%d' % n, 'wb') as f: f.write(data)\n    except OSError:\n        break\ndef add(a, b): return n\n",
    ),
    ("disk: many folders", "import posix\nn = 0\nwhile n < 100000:\n    n += 1\n    posix.mkdir('d%d' % n)\n"),
    (
        "threads: as many as possible",
        "import _thread, time\nn = 0\ntry:\n    while True:\n        _thread.start_new_thread(time.sleep, (60,)); n += 1\nexcept RuntimeError:\n    pass\nassert n < 10000\ndef add(a, b): return n\n",
    ),
    (
        "processor: all of it",
        "import _thread\ndef burn():\n    while True: pass\nfor _ in range(8): _thread.start_new_thread(burn, ())\nburn()\n",
    ),
    (
        "processor: deaf to signals",
        "import signal\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError): pass\nwhile True: pass\n",
    ),
    ("sleep: for ever", "import time\nwhile True:\n    try: time.sleep(1000)\n    except BaseException: pass\n"),
    (
        "signals: alarms without end",
        "import signal\ndef again(*_): signal.setitimer(signal.ITIMER_REAL, 0.001)\nsignal.signal(signal.SIGALRM, again)\nagain()\nwhile True: signal.pause()\n",
    ),
    ("output: without end", "import posix\nwhile True: posix.write(1, b'passed\\n' * 10000); print('passed' * 10000)\n"),
    ("answer: without end", "def add(a, b):\n    while True: yield 5\n"),
    ("answer: nested for ever", "def add(a, b):\n    x = []\n    for _ in range(100000): x = [x]\n    return x\n"),
    ("answer: too large", "def add(a, b): return 'x' * (1 << 28)\n"),
    ("answer: a dictionary of collisions", "def add(a, b): return {n * (2 ** 61 - 1): n for n in range(60000)}\n"),
    ("answer: an integer too large to print", "def add(a, b): return 10 ** 1000000\n"),
    ("crash: read from nowhere", "import ctypes\nctypes.string_at(8)\n"),
    ("crash: abort", "import os\nos.abort()\n"),
    (
        "recursion: in the stack of C",
        "import sys\nsys.setrecursionlimit(10 ** 9)\ndef add(a, b):\n    class E(Exception): pass\n    f = lambda n: sorted([1, 2], key=lambda _: f(n + 1))\n    return f(0)\n",
    ),
];

/// Programs that answer wrongly (or would, if they answered) and try to pass all the same. The test is `assert add(2, 3) == 5` and more.
const FORGERIES: &[(&str, &str)] = &[
    ("exit(0)", "import sys\nsys.exit(0)\n"),
    ("exit(0) in the function", "import sys\ndef add(a, b): sys.exit(0)\n"),
    ("os._exit(0)", "import os\nos._exit(0)\n"),
    ("os._exit(0) in the function", "import os\ndef add(a, b): os._exit(0)\n"),
    ("exit by system call", "def add(a, b): call(231 if X86 else 94, 0)\n"),
    ("raise SystemExit, GeneratorExit, KeyboardInterrupt", "def add(a, b): raise GeneratorExit\n"),
    (
        "print passed",
        "def add(a, b):\n    print('passed'); print('{\"verdict\": \"passed\"}')\n    for n in (1, 2): posix.write(n, b'passed\\n')\n    return 0\n",
    ),
    (
        "an object equal to everything",
        "class All:\n    def __eq__(self, other): return True\n    __hash__ = None\ndef add(a, b): return All()\n",
    ),
    (
        "a number equal to everything",
        "class All(int):\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\n    __hash__ = int.__hash__\n    def __index__(self): return 5\n    def __int__(self): return 5\ndef add(a, b): return All(0)\n",
    ),
    ("a list equal to everything", "class All(list):\n    def __eq__(self, other): return True\ndef add(a, b): return All([All(), 1])\n"),
    (
        "an exception equal to everything",
        "class All(AssertionError):\n    def __eq__(self, other): return True\n    def __bool__(self): return True\ndef add(a, b): raise All()\n",
    ),
    (
        "a class in place of the function",
        "class add:\n    def __new__(cls, *a): return object.__new__(cls)\n    def __eq__(self, other): return True\n",
    ),
    (
        "patched builtins",
        "import builtins\nbuiltins.AssertionError = type('Quiet', (BaseException,), {})\nfor name in ('abs', 'all', 'any', 'len', 'sorted', 'isinstance', 'str', 'repr', 'range', 'exec', 'compile', 'getattr'):\n    setattr(builtins, name, lambda *a, **k: True)\ndef add(a, b): return 0\n",
    ),
    (
        "builtins redefined beside the function",
        "def abs(x): return 0\ndef sum(x): return 0\ndef max(*a): return 0\ndef add(a, b): return 0\n",
    ),
    (
        "frames: find the verdict",
        "frame = sys._getframe()\nwhile frame:\n    for name, value in list(frame.f_locals.items()) + list(frame.f_globals.items()):\n        if 'nonce' in name.lower() or 'verdict' in name.lower(): passed = value\n        if name == 'job' and isinstance(value, dict) and ('nonce' in value or 'test' in value): add = lambda a, b: a + b\n    frame = frame.f_back\nif 'add' not in globals():\n    def add(a, b): return 0\n",
    ),
    (
        "frames: change the driver",
        "frame = sys._getframe()\nwhile frame:\n    for name, value in list(frame.f_globals.items()):\n        if callable(value) and name in ('answer_call', 'exception_frame', 'describe'): frame.f_globals[name] = lambda *a: b'P'\n    frame = frame.f_back\ndef add(a, b): return 0\n",
    ),
    (
        "gc: find the test",
        "import gc\ndef add(a, b):\n    for thing in gc.get_objects():\n        if isinstance(thing, dict) and any(isinstance(v, str) and 'assert add' in v for v in list(thing.values())): return a + b\n    return 0\n",
    ),
    (
        "memory: find the test",
        "import ctypes\ndef add(a, b):\n    # The pages around known objects, as far as they can be read without a map. What is looked for never\n    # stands whole in this program's own memory, where the compiler would put a folded constant.\n    data, at = ctypes.string_at(id(add) & ~0xfffff, 1 << 20), -1\n    while (at := data.find(b'assert ad', at + 1)) >= 0:\n        if bytes(x ^ 1 for x in data[at + 9:at + 16]) == b'e)3-!2(': return a + b\n    return 0\n",
    ),
    (
        "arguments: find the test",
        "def add(a, b): return a + b if any('assert' in x for x in sys.argv + list(getattr(sys, 'orig_argv', []))) and 'JOB' in ' '.join(sys.argv) else 0\n",
    ),
    (
        "pipe: say passed on every descriptor",
        "def add(a, b):\n    for n in range(3, 64):\n        for word in (b'\\1\\0\\0\\0P', b'\\x21\\0\\0\\0' + b'\\0' * 32 + b'P'):\n            try: posix.write(n, word)\n            except OSError: pass\n    return 0\n",
    ),
    ("pipe: a frame of four gigabytes", "def add(a, b):\n    posix.write(5, b'\\xff\\xff\\xff\\xff' + b'V' * 60000); return 0\n"),
    ("pipe: an empty frame", "def add(a, b):\n    posix.write(5, b'\\0\\0\\0\\0'); return 0\n"),
    ("pipe: a list that says it is long", "def add(a, b):\n    posix.write(5, b'\\x06\\0\\0\\0Vl\\xff\\xff\\xff\\xff'); return 0\n"),
    (
        "pipe: nesting without end",
        "def add(a, b):\n    body = b'V' + b't\\1\\0\\0\\0' * 10000 + b'N='\n    posix.write(5, len(body).to_bytes(4, 'little') + body); return 0\n",
    ),
    (
        "pipe: a reference to nothing, then to itself",
        "def add(a, b):\n    for body in (b'VR\\xff\\0\\0\\0=', b'Vl\\1\\0\\0\\0R\\0\\0\\0\\0='):\n        posix.write(5, len(body).to_bytes(4, 'little') + body)\n    return 0\n",
    ),
    (
        "pipe: unhashable keys, bad numbers, bad text",
        "def add(a, b):\n    for body in (b'Vd\\1\\0\\0\\0l\\0\\0\\0\\0N=', b'VD\\3\\0\\0\\0abc=', b'VS\\1\\0\\0\\0\\xff=', b'VM\\1\\0\\0\\0x=', b'Vf\\x69\\1i\\0='):\n        posix.write(5, len(body).to_bytes(4, 'little') + body)\n    return 0\n",
    ),
    (
        "pipe: a pickle",
        "import pickle\nclass Evil:\n    def __reduce__(self): return (print, ('passed',))\ndef add(a, b):\n    body = b'V' + pickle.dumps(Evil())\n    posix.write(5, len(body).to_bytes(4, 'little') + body); return 0\n",
    ),
    (
        "pipe: a pickle of its own making as the result",
        "class Evil:\n    def __reduce__(self): return (eval, ('5',))\n    def __eq__(self, other): return True\ndef add(a, b): return Evil()\n",
    ),
    (
        "pipe: answers ahead of the questions",
        "for body in (b'D\\1\\0\\0\\0c',) + (b'Vi\\0=',) * 8:\n    posix.write(5, b'\\1\\0\\0\\0R' + len(body).to_bytes(4, 'little') + body)\ndef add(a, b): return 0\n",
    ),
    (
        "pipe: an unknown exception kind",
        "def add(a, b):\n    body = b'Xt\\3\\0\\0\\0l\\1\\0\\0\\0S\\4\\0\\0\\0evalS\\4\\0\\0\\0evalS\\1\\0\\0\\0x='\n    posix.write(5, len(body).to_bytes(4, 'little') + body); return 0\n",
    ),
    (
        "pipe: close it and stay",
        "import time\ndef add(a, b):\n    for n in range(3, 64):\n        try: posix.close(n)\n        except OSError: pass\n    while True: pass\n",
    ),
    ("pipe: read the question and stop answering", "def add(a, b):\n    posix.read(4, 1 << 16)\n    return 0\n"),
    ("change the arguments", "def add(a, b):\n    return 0\ndef shuffle(x):\n    x[:] = []\n"),
    (
        "trace and profile",
        "sys.settrace(lambda *a: None)\nsys.setprofile(lambda *a: None)\nsys.excepthook = lambda *a: None\nimport atexit\natexit.register(posix._exit, 0)\ndef add(a, b): raise ValueError\n",
    ),
    (
        "import hooks",
        "class Hook:\n    def find_spec(self, *a): posix._exit(0)\nsys.meta_path.insert(0, Hook())\nsys.modules.clear()\ndef add(a, b): return 0\n",
    ),
    (
        "a finaliser",
        "class Last:\n    def __del__(self): posix._exit(0)\nlast = Last()\ndef add(a, b):\n    global last\n    last = None\n    return 0\n",
    ),
    ("a module in the function's place", "import types\nadd = types.ModuleType('math')\n"),
    ("not a number", "def add(a, b): return float('nan')\n"),
];

/// The same against one assembled text, where candidate and test have to be told apart first.
const TEXTS: &[(&str, &str)] = &[
    ("text: exit(0) before the test", "def add(a, b): return 0\nimport sys; sys.exit(0)\nassert add(2, 3) == 5\nassert add(10, -4) == 6\n"),
    (
        "text: os._exit(0) before the test",
        "def add(a, b): return 0\nimport os; os._exit(0)\nassert add(2, 3) == 5\nassert add(10, -4) == 6\n",
    ),
    (
        "text: an assert that exits",
        "def add(a, b): return 0\nassert __import__('os')._exit(0)\nassert add(2, 3) == 5\nassert add(10, -4) == 6\n",
    ),
    (
        "text: an assert that rebinds",
        "def add(a, b): return 0\nassert (add := lambda a, b: 5)\nassert add(2, 3) == 5\nassert add(10, -4) == 6\n",
    ),
    (
        "text: a test function that rebinds",
        "def add(a, b): return 0\ndef test_it():\n    global add\n    add = lambda a, b: 5\n    assert True\ntest_it()\nassert add(2, 3) == 5\nassert add(10, -4) == 6\n",
    ),
    (
        "text: an assert that reaches for frames",
        "def add(a, b): return 0\nassert (x for x in ()).gi_frame.f_back.f_globals.clear() is None\nassert add(2, 3) == 5\nassert add(10, -4) == 6\n",
    ),
    (
        "text: an assert through a format",
        "def add(a, b): return 0\nassert '{0.__globals__}'.format(add)\nassert add(2, 3) == 5\nassert add(10, -4) == 6\n",
    ),
    (
        "text: a check of its own",
        "def add(a, b): return 0\ndef check(candidate): pass\ndef check(candidate):\n    assert candidate(2, 3) == 5 and candidate(10, -4) == 6\ncheck(add)\n",
    ),
    (
        "text: check replaced by itself",
        "def add(a, b): return 0\nimport builtins\nbuiltins.check = lambda f: None\nMETADATA = {}\ndef check(candidate):\n    assert candidate(2, 3) == 5 and candidate(10, -4) == 6\ncheck(add)\n",
    ),
    (
        "text: patched exceptions",
        "import builtins\nbuiltins.AssertionError = SystemExit\ndef add(a, b): return 0\nassert add(2, 3) == 5\nassert add(10, -4) == 6\n",
    ),
    (
        "text: equal to everything",
        "class All:\n    def __eq__(self, other): return True\ndef add(a, b): return All()\nassert add(2, 3) == 5\nassert add(10, -4) == 6\n",
    ),
    ("text: an open string", "def add(a, b): return 0\n'''\nassert add(2, 3) == 5\nassert add(10, -4) == 6\n"),
    ("text: a zero byte", "def add(a, b): return 5\n\0\nassert add(2, 3) == 5\nassert add(10, -4) == 6\n"),
    ("text: nested beyond the parser", "def add(a, b): return 0\nx = @DEEP@\nassert add(2, 3) == 5\nassert add(10, -4) == 6\n"),
    (
        "text: a decorator left open",
        "def add(a, b): return 0\n@lambda f: lambda *a: None\ndef check(candidate):\n    assert candidate(2, 3) == 5 and candidate(10, -4) == 6\ncheck(add)\n",
    ),
];

const TEST: &str = "assert add(2, 3) == 5\nassert add(2, 3) == 5 and add(10, -4) == 6\nassert [add(1, 1)] == [2]";

fn honest() -> Program {
    Program { candidate: "def add(a, b):\n    return a + b\n".to_owned(), test: TEST.to_owned(), ..Program::default() }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|about| about.uid() == 0)
}

/// The interpreter: the system's where it has one, as root's own cannot be read by others.
fn python() -> PathBuf {
    PathBuf::from(if Path::new("/usr/bin/python3").exists() { "/usr/bin/python3" } else { "python3" })
}

fn config() -> SandboxConfig {
    SandboxConfig { python: python(), ..SandboxConfig::new(PathBuf::from(env!("CARGO_BIN_EXE_slm-bench"))) }
}

/// Every means that this user can try, with a name.
fn all_means() -> Vec<(&'static str, SandboxConfig)> {
    let with = |isolation, as_user| SandboxConfig { isolation, as_user, ..config() };
    let mut means =
        vec![("user namespaces", with(Isolation::UserNamespaces, None)), ("no namespaces", with(Isolation::NoNamespaces, None))];
    if is_root() {
        means.push(("privileged namespaces", with(Isolation::PrivilegedNamespaces, None)));
        means.push(("ordinary user, user namespaces", with(Isolation::UserNamespaces, Some(65534))));
        means.push(("ordinary user, no namespaces", with(Isolation::NoNamespaces, Some(65534))));
    }
    means
}

/// What must stay as it is while hostile programs run.
struct Surroundings {
    folder: tempfile::TempDir,
    listener: TcpListener,
    neighbour: std::process::Child,
}

impl Surroundings {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).expect("open to all");
        std::fs::write(folder.path().join("decoy"), "decoy").expect("written");
        std::fs::set_permissions(folder.path().join("decoy"), PermissionsExt::from_mode(0o666)).expect("open to all");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a setting");
        let neighbour = std::process::Command::new("sleep").arg("600").spawn().expect("a neighbour");
        Self { folder, listener, neighbour }
    }

    fn tools(&self) -> String {
        let decoy = serde_json::Value::from(self.folder.path().join("decoy").to_string_lossy()).to_string();
        TOOLS
            .replace("@PORT@", &self.listener.local_addr().expect("bound").port().to_string())
            .replace("@DECOY@", &decoy)
            .replace("@SECRET@", "'secret'")
            .replace("@PARENT@", &std::process::id().to_string())
    }

    fn check(&mut self) {
        assert!(self.listener.accept().is_err(), "a connection came out of the sandbox");
        let decoy = self.folder.path().join("decoy");
        assert_eq!(std::fs::read_to_string(&decoy).expect("readable"), "decoy");
        assert_eq!(std::fs::metadata(&decoy).expect("there").permissions().mode() & 0o777, 0o666);
        assert_eq!(std::fs::read_dir(self.folder.path()).expect("there").count(), 1, "a file came out of the sandbox");
        assert!(self.neighbour.try_wait().expect("a child").is_none(), "a neighbour was killed");
        for process in std::fs::read_dir("/proc").expect("there").flatten() {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            assert!(!name.starts_with("hostilekid"), "{} stayed", process.path().display());
        }
    }
}

impl Drop for Surroundings {
    fn drop(&mut self) {
        let _ = self.neighbour.kill();
        let _ = self.neighbour.wait();
    }
}

/// A hostile program by name: in two parts, or as one text.
enum Hostile {
    Parts(Program),
    Text(String),
}

fn hostile(tools: &str) -> Vec<(&'static str, Hostile)> {
    let parts = |code: &str, test: &str| {
        Hostile::Parts(Program { candidate: format!("{tools}\n{code}\n"), test: test.to_owned(), ..Program::default() })
    };
    let attempts = ATTEMPTS.iter().map(|(name, code)| (*name, parts(code, "assert got_out")));
    let greedy = GREEDY.iter().chain(FORGERIES).map(|(name, code)| (*name, parts(code, TEST)));
    let deep = "(".repeat(5000) + &"-".repeat(50_000) + "1" + &")".repeat(5000);
    let texts = TEXTS.iter().map(|(name, text)| (*name, Hostile::Text(text.replace("@DEEP@", &deep))));
    attempts.chain(greedy).chain(texts).collect()
}

/// The hostile programs, two more at a time than there are cores, and a queue of honest ones beside them.
fn run_beside_honest(sandbox: &Sandbox, programs: &[(&'static str, Hostile)]) -> (Vec<Execution>, Vec<Execution>) {
    let (mut parts, mut texts) = (Vec::new(), Vec::new());
    for (_, hostile) in programs {
        match hostile {
            Hostile::Parts(program) => parts.push(program.clone()),
            Hostile::Text(text) => texts.push(text.clone()),
        }
    }
    let parallelism = std::thread::available_parallelism().map_or(1, usize::from) + 2;
    std::thread::scope(|scope| {
        let neighbours = scope.spawn(|| sandbox.run_all(&vec![honest(); 40], 1, &|_| {}));
        let mut hostile = sandbox.run_all(&parts, parallelism, &|_| {});
        hostile.extend(sandbox.run_all_texts(&texts, parallelism, &|_| {}));
        (hostile, neighbours.join().expect("the neighbours"))
    })
}

/// By every means of isolation: no hostile program passes or reaches anything, none is taken for a fault of the sandbox, all of
/// their honest neighbours pass.
#[test]
fn no_hostile_program_escapes() {
    let mut surroundings = Surroundings::new();
    let programs = hostile(&surroundings.tools());
    assert!(programs.len() >= 25);
    let mut tried = 0;
    let mut wrong = Vec::new();
    for (means, config) in all_means() {
        let limits = Limits { cpu_s: 1.0, wall_s: 20.0, memory_bytes: 512 << 20, ..Limits::default() };
        let sandbox = match Sandbox::start(SandboxConfig { limits, ..config }) {
            Ok(sandbox) => sandbox,
            Err(error @ SandboxError::LevelTooLow { .. }) => {
                println!("\n{means}: not on this machine: {error}");
                continue;
            }
            Err(error) => panic!("{means}: {error}"),
        };
        tried += 1;
        println!("\n{means}: level {}, Python {}", sandbox.level(), sandbox.python_version());
        let begun = Instant::now();
        let (executions, neighbours) = run_beside_honest(&sandbox, &programs);
        for ((name, _), execution) in programs.iter().zip(&executions) {
            let reason: String = execution.reason.chars().take(70).collect();
            println!("  {name:<55} {:<10} {:>5.2} s  {}", execution.verdict.to_string(), execution.cpu_s, reason.escape_debug());
            if !matches!(execution.verdict, Verdict::Failed | Verdict::TimedOut) {
                wrong.push(format!("{means}: {name}: {} {}", execution.verdict, execution.reason));
            }
        }
        let slowest = neighbours.iter().map(|neighbour| Duration::from_secs_f64(neighbour.cpu_s)).max().unwrap_or_default();
        for neighbour in neighbours {
            if neighbour.verdict != Verdict::Passed {
                wrong.push(format!("{means}: an honest neighbour: {} {}", neighbour.verdict, neighbour.reason));
            }
        }
        let slowest = slowest.as_secs_f64();
        println!(
            "  {} hostile programs in {:.1} s; slowest honest neighbour {slowest:.2} s of processor time",
            programs.len(),
            begun.elapsed().as_secs_f64()
        );
        drop(sandbox);
        surroundings.check();
    }
    assert!(tried > 0, "no means of isolation works on this machine");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Attempts fail because the thing was refused, not because the attempt is broken: outside of the sandbox they work.
#[test]
fn attempts_would_work_outside() {
    let surroundings = Surroundings::new();
    let outside = |name: &str| {
        let (_, code) = ATTEMPTS.iter().find(|(attempt, _)| *attempt == name).expect("an attempt");
        let script = format!("{}\n{code}\nimport sys\nsys.exit(0 if got_out else 1)", surroundings.tools());
        std::process::Command::new(python())
            .args(["-c", &script])
            .current_dir(surroundings.folder.path())
            .status()
            .expect("python3")
            .success()
    };
    for name in [
        "network: connect to this machine",
        "files: read a file that all may read",
        "files: symbolic link",
        "environment: every copy of it",
    ] {
        assert!(outside(name), "{name}");
    }
}

/// What crosses between candidate and test: plain values and their subclasses, changes to arguments in place, exceptions by kind.
#[test]
fn honest_values_cross() {
    let sandbox = Sandbox::start(config()).expect("this machine isolates");
    let cases: &[(&str, &str, &str)] = &[
        (
            "numbers",
            "def f(x): return x",
            "for x in (0, -1, 127, 128, -129, 10**50, -10**50, 1.5, -0.0, float('inf'), 2j, True, False, None, ...):\n    y = f(x)\n    assert y == x and type(y) is type(x) and repr(y) == repr(x)",
        ),
        ("singletons", "def f(x): return x", "assert f(True) is True and f(None) is None"),
        (
            "texts",
            "def f(x): return x",
            "for x in ('', 'é日', '\\ud800', 'a' * 70000, b'', b'\\0\\xff', bytearray(b'x')):\n    assert f(x) == x and type(f(x)) is type(x)",
        ),
        (
            "containers",
            "def f(x): return x",
            "for x in ([], [1, [2]], (), (1, (2,)), {}, {'a': {1: 2}}, set(), {1, 2}, frozenset([1]), range(1, 9, 2)):\n    assert f(x) == x and type(f(x)) is type(x)",
        ),
        (
            "library types",
            "from collections import OrderedDict, Counter, defaultdict, deque\nfrom decimal import Decimal\nfrom fractions import Fraction\ndef f(n): return [OrderedDict([(2, 1), (1, 2)]), Counter('aab'), defaultdict(int, a=1), deque([1, 2], 3), Decimal('1.10'), Fraction(1, 3)][n]",
            "from collections import OrderedDict, deque\nfrom fractions import Fraction\nassert f(0) == OrderedDict([(2, 1), (1, 2)]) != OrderedDict([(1, 2), (2, 1)])\nassert f(1) == {'a': 2, 'b': 1} and f(1).most_common(1) == [('a', 2)] and f(2) == {'a': 1}\nassert f(3) == deque([1, 2]) and f(3).maxlen == 3 and str(f(4)) == '1.10' and f(5) == Fraction(1, 3)",
        ),
        (
            "subclasses",
            "from collections import namedtuple\nimport enum\nPoint = namedtuple('Point', 'x y')\nclass N(int): pass\nclass Colour(enum.IntEnum):\n    RED = 3\nclass L(list): pass\ndef f(n): return [Point(1, 2), N(4), Colour.RED, L([1]), type('S', (str,), {})('s')][n]",
            "assert f(0) == (1, 2) and f(1) == 4 and f(2) == 3 and f(3) == [1] and f(4) == 's'",
        ),
        (
            "iterators",
            "def f(n): return [(x for x in range(3)), map(str, [1]), zip([1], [2]), {1: 2}.keys(), {1: 2}.items(), {1: 2}.values(), iter([1]), reversed([1, 2])][n]",
            "assert list(f(0)) == [0, 1, 2] and f(0) != [0, 1, 2] and list(f(1)) == ['1'] and list(f(2)) == [(1, 2)]\nassert f(3) == {1} and f(4) == {(1, 2)} and list(f(5)) == [2] and next(f(6)) == 1 and tuple(f(7)) == (2, 1)",
        ),
        (
            "changes in place",
            "def f(x, d, s):\n    x.sort(); x.append(x[0]); d['k'] = x; s.clear()\n    return x",
            "x, d, s = [3, 1], {}, {1}\ny = x\nz = f(x, d, s)\nassert z is x and y == [1, 3, 1] and d['k'] is x and s == set()",
        ),
        ("sharing and cycles", "def f(x):\n    x.append(x); return x", "x = [1]\ny = f(x)\nassert y is x and x[1] is x"),
        (
            "changes before an exception",
            "def f(x):\n    x.append(1); raise ValueError('no')",
            "x = []\ntry:\n    f(x)\n    assert False\nexcept ValueError as error:\n    assert str(error) == 'no' and x == [1]",
        ),
        (
            "keywords and defaults",
            "def f(a, b=2, *c, d=4, **e): return (a, b, c, d, e)",
            "assert f(1) == (1, 2, (), 4, {}) and f(1, 3, 5, d=6, z=[7]) == (1, 3, (5,), 6, {'z': [7]})",
        ),
        (
            "exceptions by kind",
            "class Mine(KeyError): pass\ndef f(n):\n    if n == 0: return 1 // 0\n    if n == 1: raise Mine('x')\n    return int('x')",
            "for n, kind in enumerate((ZeroDivisionError, KeyError, ValueError)):\n    try:\n        f(n)\n        assert False\n    except kind: pass",
        ),
        (
            "state between calls",
            "count = 0\nseen = []\ndef f():\n    global count\n    count += 1; seen.append(count)\n    return count",
            "assert [f(), f(), f()] == [1, 2, 3] and seen == [1, 2, 3]",
        ),
        (
            "values and modules by name",
            "import math\nLIMIT = 3\ndef f(x): return math.sqrt(x)",
            "assert math.isclose(f(2), 2 ** 0.5) and LIMIT == 3",
        ),
        ("a function under test named like a builtin", "def sum(a, b): return a * b", "assert sum(2, 5) == 10"),
        (
            "the name of the module",
            "name = __name__\ndef f(): return __name__",
            "assert f() == 'builtins' and name == 'builtins' and __name__ == 'builtins'",
        ),
        (
            "files in the scratch folder",
            "def f():\n    with open('a', 'w') as file: file.write('é')\n    return open('a').read()",
            "assert f() == 'é'",
        ),
        (
            "threads and events",
            "import threading, asyncio\ndef f():\n    out = []\n    t = threading.Thread(target=out.append, args=(1,)); t.start(); t.join()\n    async def g(): await asyncio.sleep(0); return 2\n    return out + [asyncio.run(g())]",
            "assert f() == [1, 2]",
        ),
        (
            "common modules",
            "import re, itertools, functools, heapq, bisect, string, random, datetime, statistics, typing, json, hashlib, operator, copy, dataclasses, textwrap, calendar, queue, struct, zlib, bz2, lzma, sqlite3, ssl, uuid, ctypes, decimal, fractions, array, unicodedata, subprocess, shutil, multiprocessing, socket, tempfile, logging, unittest\n@dataclasses.dataclass\nclass P:\n    x: int\ndef f(): return [hashlib.sha256(b'').hexdigest()[:4], P(1).x, len(uuid.uuid4().hex), random.Random(1).randint(0, 9) >= 0]",
            "assert f() == ['e3b0', 1, 32, True]",
        ),
    ];
    let programs: Vec<Program> = cases
        .iter()
        .map(|(_, code, test)| Program { candidate: (*code).to_owned(), test: (*test).to_owned(), ..Program::default() })
        .collect();
    let folder = tempfile::tempdir().expect("a folder");
    let mut wrong = Vec::new();
    for (program, ((name, ..), execution)) in programs.iter().zip(cases.iter().zip(sandbox.run_all(&programs, 2, &|_| {}))) {
        if execution.verdict != Verdict::Passed {
            wrong.push(format!("{name}: {} {}", execution.verdict, execution.reason));
        }
        // The same in one process.
        let script =
            format!("exec(compile({:?} + '\\n' + {:?}, '<string>', 'exec'), {{}})", Quoted(&program.candidate), Quoted(&program.test));
        let status = std::process::Command::new(python()).args(["-c", &script]).current_dir(folder.path()).output().expect("python3");
        assert!(status.status.success(), "{name} in one process: {}", String::from_utf8_lossy(&status.stderr));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A text as a Python literal.
struct Quoted<'a>(&'a str);

impl std::fmt::Debug for Quoted<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&serde_json::Value::from(self.0).to_string())
    }
}

/// What cannot cross fails with that reason, in both directions.
#[test]
fn what_cannot_cross_fails_with_that_reason() {
    let sandbox = Sandbox::start(config()).expect("this machine isolates");
    for (code, test, reason) in [
        ("def f(): return object()", "assert f()", "the result of f cannot cross: a value of type object"),
        ("def f(): return [lambda: 1]", "assert f()", "the result of f cannot cross: a value of type function"),
        ("def f(g): return g(1)", "assert f(lambda x: x) == 1", "an argument of the test cannot cross: a value of type function"),
        ("class C: pass\nx = C()", "assert x == 1", "the name x cannot cross: a value of type C"),
        ("import re\ndef f(): return re.match('a', 'a')", "assert f()", "the result of f cannot cross: a value of type Match"),
    ] {
        let execution = sandbox.run(&Program { candidate: code.to_owned(), test: test.to_owned(), ..Program::default() });
        assert_eq!((execution.verdict, execution.reason.as_str()), (Verdict::Failed, reason));
    }
}

/// A HumanEval helper that the prompt defines is the dataset's, whatever the completion makes of it.
#[test]
fn helpers_of_the_prompt_are_the_authors() {
    let sandbox = Sandbox::start(config()).expect("this machine isolates");
    let prompt = "def double(x):\n    return 2 * x\n\n\ndef half(x):\n    \"\"\"The inverse of double.\"\"\"\n";
    let test = "def check(candidate):\n    for x in range(9):\n        assert double(candidate(x)) == x\n";
    let run = |completion: &str| sandbox.run(&Program::human_eval(prompt, completion, test, "half"));
    assert_eq!(run("    return x / 2\n").verdict, Verdict::Passed);
    let forged = run("    return x\n\n\ndef double(x):\n    return x\n");
    assert_eq!((forged.verdict, forged.reason.as_str()), (Verdict::Failed, "AssertionError"));
}

/// Below the level that is asked for nothing runs, and the error says so; a missing interpreter is named.
#[test]
fn without_isolation_or_python_nothing_runs() {
    let weak =
        SandboxConfig { isolation: Isolation::NoNamespaces, minimum: slm_benchmark::sandbox::Level::NamespacesSeccompLandlock, ..config() };
    assert!(matches!(Sandbox::start(weak), Err(SandboxError::LevelTooLow { .. })));
    let error = Sandbox::start(SandboxConfig { python: PathBuf::from("/nowhere/python3"), ..config() }).expect_err("no interpreter");
    assert!(matches!(error, SandboxError::NoPython { .. }) && error.to_string().contains("/nowhere/python3"), "{error}");
}

/// A launcher that dies is no wrong answer: the program is run again on another one.
#[test]
fn a_lost_launcher_is_no_wrong_answer() {
    let test = ["--exact", "sandbox::a_launcher_is_lost", "--ignored", "--nocapture"];
    let output = std::process::Command::new(std::env::current_exe().expect("this program")).args(test).output().expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{}", String::from_utf8_lossy(&output.stdout));
}

/// All launchers of the process are killed, so they must not be those of other tests.
#[test]
#[ignore = "the process that `a_lost_launcher_is_no_wrong_answer` starts"]
fn a_launcher_is_lost() {
    let sandbox = Sandbox::start(config()).expect("this machine isolates");
    let own = std::process::id().to_string();
    let mut killed = 0;
    for process in std::fs::read_dir("/proc").expect("there").flatten() {
        let status = std::fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        let command = std::fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        let parent = status.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)).unwrap_or_default().to_owned();
        if parent == own && command.contains("__sandbox-worker") {
            let _ = std::process::Command::new("kill").arg("-9").arg(process.file_name()).status();
            killed += 1;
        }
    }
    assert!(killed > 0);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(sandbox.run(&honest()).verdict, Verdict::Passed);
}

/// The command prints one line with the fields that scripts rely on.
#[test]
fn the_command_prints_one_verdict() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("program.py");
    std::fs::write(&file, "def add(a, b):\r\n    return a + b\r\nassert add(2, 3) == 5\r\n").expect("written");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_slm-bench")).arg("sandbox").arg(&file).output().expect("runs");
    let line: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    assert_eq!(line["verdict"], "passed", "{line}");
    assert_eq!(line.as_object().expect("an object").keys().collect::<Vec<_>>(), ["verdict", "reason", "level", "cpu_s", "wall_s"]);
    assert_eq!(output.status.code(), Some(0));
}
