# The process that runs the model's code. Nothing in it is trusted once that code has started.


def harness_guard():
    # code_eval sets these to None before it runs a program; a program that calls one fails there and must fail here.
    import builtins
    import os
    builtins.exit = builtins.quit = builtins.help = None
    os.environ.clear()
    os.environ["OMP_NUM_THREADS"] = "1"
    # Modules that the metric's process has loaded by then do not meet the None functions: these ask for the folder while they load.
    names = {"shutil": ("rmtree", "move", "chown"), "subprocess": ("Popen",), "multiprocessing.process": ()}
    hook = Disabling(names, os, os.getcwd)
    for name in ("kill system putenv remove removedirs rmdir fchdir setuid fork forkpty killpg rename renames truncate replace unlink "
                 "fchmod fchown chmod chown chroot lchflags lchmod lchown getcwd chdir").split():
        setattr(os, name, None)
    for name in ("ipdb", "joblib", "resource", "psutil", "tkinter"):
        sys.modules[name] = None
    sys.meta_path.insert(0, hook)


class Disabling:
    """Finds a few modules like the ordinary finder does, and sets some of their functions to None once they are loaded."""

    def __init__(self, names, os, getcwd):
        self.names = names
        self.os = os
        self.getcwd = getcwd

    def find_spec(self, name, path=None, target=None):
        disabled = self.names.pop(name, None)
        if disabled is None:
            return None
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target) if finder is not self else None
            if spec is not None:
                break
        else:
            return None
        execute = spec.loader.exec_module

        def exec_module(module):
            kept, self.os.getcwd = self.os.getcwd, self.getcwd
            try:
                execute(module)
            finally:
                self.os.getcwd = kept
            for function in disabled:
                setattr(module, function, None)

        try:
            spec.loader.exec_module = exec_module
        except AttributeError:
            return None
        return spec


def kinds(error):
    return [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins" and issubclass(kind, BaseException)]


def exception_frame(error):
    writer = Writer([], 1 << 20)
    writer.value((kinds(error), type(error).__name__[:200], message(error)))
    return b"X" + writer.out


def describe(names, namespace, limit):
    """What the candidate binds to each name: absent, a module, something to call, or a plain value."""
    table = []
    writer = Writer(table, limit)
    writer.out += _length(len(names))
    for name in names:
        if name not in namespace:
            writer.out += b"-"
            continue
        value = namespace[name]
        if isinstance(value, type(sys)):
            writer.out += b"m"
            writer.value(value.__name__)
        elif callable(value):
            writer.out += b"c"
        else:
            kept = len(writer.out), len(table), writer.items
            writer.out += b"v"
            try:
                writer.value(value)
            except (CannotCross, RecursionError) as error:
                del writer.out[kept[0]:]
                for gone in table[kept[1]:]:
                    del writer.numbers[id(gone)]
                del table[kept[1]:]
                writer.items = kept[2]
                writer.out += b"u"
                writer.value(str(error)[:200])
    return b"D" + writer.out


def answer_call(request, namespace, limit):
    table = []
    reader = Reader(request, table, 1)
    name = reader.text()
    arguments = reader.value()
    keywords = dict(reader.pairs(0))
    given = len(table)
    sent = request[:]
    try:
        result = namespace[name](*arguments, **keywords)
    except BaseException as error:
        reply, result, raised = exception_frame(error), None, True
    else:
        raised = False
        try:
            writer = Writer(table, limit)
            writer.value(result)
            reply = b"V" + writer.out
        except (CannotCross, RecursionError) as error:
            what = str(error) if isinstance(error, CannotCross) else "a value that is nested too deeply"
            writer = Writer([], limit)
            writer.value(what[:200])
            return b"U" + writer.out
        except BaseException as error:
            # A generator that raises while it is drained.
            reply, raised = exception_frame(error), True
    if given == 0:
        return reply + b"="
    # Arguments that were changed in place go back, each as its number and its new content.
    before = encoded_arguments(arguments, keywords, limit)
    if before is not None and sent.endswith(before):
        return reply + b"="
    try:
        if raised:
            del table[given:]
        writer = Writer(table, limit)
        writer.out += b"*" + _length(given)
        for container in table[:given]:
            content(writer, container)
        return reply + writer.out
    except (CannotCross, RecursionError):
        return reply + b"="


def content(writer, container):
    """A container's new content as a fresh, unnumbered copy whose members may refer to numbered ones."""
    if isinstance(container, dict):
        writer.pairs(b"d", list(container.items()), 1)
    elif isinstance(container, set):
        writer.many(b"s", list(container), 1)
    elif isinstance(container, bytearray):
        writer.sized(b"A", bytes(container))
    else:
        writer.many(b"l", list(container), 1)


def encoded_arguments(arguments, keywords, limit):
    try:
        writer = Writer([], limit)
        writer.value(arguments)
        writer.pairs(b"", list(keywords.items()), 0)
        return writer.out
    except (CannotCross, RecursionError):
        return None


def candidate(job, incoming, outgoing):
    limit = job["message_bytes"]
    source = job["candidate"]
    swallow_output()
    harness_guard()
    write_frame(outgoing, b"H")
    read_frame(incoming, 16)
    namespace = {}
    try:
        exec(compile(source, "<string>", "exec", dont_inherit=True), namespace)
    except BaseException as error:
        write_frame(outgoing, exception_frame(error))
        return
    write_frame(outgoing, b"R")
    while True:
        try:
            request = read_frame(incoming, limit)
        except Closed:
            return
        if request[:1] == b"N":
            names = Reader(request, [], 1).value()
            write_frame(outgoing, describe(names, namespace, limit))
        else:
            write_frame(outgoing, answer_call(request, namespace, limit))
