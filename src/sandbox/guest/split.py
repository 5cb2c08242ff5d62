# Finds where the test begins in one assembled text (documented in docs/sandbox.md). Runs in an isolated process of its own and
# only parses: nothing of the text is run here.

SAFE_NODES = frozenset(
    "Assert Expr Pass Return Assign AugAssign For If While Break Continue FunctionDef arguments arg Try ExceptHandler Import ImportFrom "
    "alias BoolOp And Or BinOp Add Sub Mult Div FloorDiv Mod Pow LShift RShift BitOr BitXor BitAnd MatMult UnaryOp Invert Not UAdd "
    "USub Lambda IfExp Dict Set ListComp SetComp DictComp GeneratorExp comprehension Compare Eq NotEq Lt LtE Gt GtE Is IsNot In NotIn "
    "Call keyword Constant Num Str Bytes NameConstant Ellipsis Attribute Subscript Index ExtSlice Slice Starred Name List Tuple Load "
    "Store".split())
SAFE_BUILTINS = frozenset(
    "abs all any ascii bin bool bytearray bytes callable chr complex dict divmod enumerate filter float frozenset hash hex id int "
    "isinstance issubclass iter len list map max min next oct ord pow print range repr reversed round set slice sorted str sum "
    "tuple zip True False None NotImplemented Ellipsis".split())
SAFE_ATTRIBUTES = frozenset(
    "append count index sort copy extend insert pop remove reverse clear add discard update union intersection difference "
    "symmetric_difference issubset issuperset isdisjoint keys values items get setdefault join split rsplit splitlines strip lstrip "
    "rstrip lower upper title capitalize swapcase casefold startswith endswith find rfind replace isalpha isdigit isalnum isspace "
    "isupper islower isnumeric isdecimal zfill center ljust rjust encode decode bit_length real imag conjugate numerator denominator "
    "is_integer isclose isnan isinf isfinite fabs sqrt floor ceil pi e inf nan tau gcd lcm factorial comb perm log log2 log10 exp sin cos tan "
    "asin acos atan atan2 sinh cosh tanh degrees radians hypot dist prod fsum trunc copysign fmod modf pow deepcopy randint random Random "
    "choice seed shuffle uniform sample ascii_lowercase ascii_uppercase ascii_letters digits punctuation".split())
SAFE_MODULES = frozenset("math cmath random copy string".split())


def is_safe(ast, statement, top=True):
    """Whether a statement can only compute and compare: nothing in it reaches an interpreter's insides or rebinds a name."""
    bound_inside = set()
    for node in ast.walk(statement):
        kind = type(node).__name__
        if kind not in SAFE_NODES:
            return False
        if kind == "Name":
            if node.id.startswith("_"):
                return False
            if isinstance(node.ctx, ast.Store):
                bound_inside.add(node.id)
        elif kind == "arg":
            bound_inside.add(node.arg)
        elif kind == "Attribute":
            if node.attr not in SAFE_ATTRIBUTES or not isinstance(node.ctx, ast.Load):
                return False
        elif kind == "Import":
            if any(alias.name not in SAFE_MODULES or alias.asname for alias in node.names):
                return False
            bound_inside.update(alias.name for alias in node.names)
        elif kind == "ImportFrom":
            if node.module not in SAFE_MODULES or node.level or any(alias.name not in SAFE_ATTRIBUTES for alias in node.names):
                return False
            bound_inside.update(alias.asname or alias.name for alias in node.names)
        elif kind == "FunctionDef":
            if node is not statement or node.decorator_list:
                return False
        elif kind in ("Lambda", "ListComp", "SetComp", "DictComp", "GeneratorExp"):
            pass
    import builtins
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and hasattr(builtins, node.id):
            if node.id in SAFE_BUILTINS or node.id in bound_inside or is_exception(builtins, node.id):
                continue
            return False
    return True


def is_exception(builtins, name):
    kind = getattr(builtins, name)
    return isinstance(kind, type) and issubclass(kind, BaseException)


def is_check_call(ast, statement):
    return (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call) and isinstance(statement.value.func, ast.Name)
            and statement.value.func.id == "check" and len(statement.value.args) == 1 and not statement.value.keywords
            and isinstance(statement.value.args[0], ast.Name))


def is_metadata(ast, statement):
    return (isinstance(statement, ast.Assign) and len(statement.targets) == 1 and isinstance(statement.targets[0], ast.Name)
            and statement.targets[0].id == "METADATA" and isinstance(statement.value, ast.Dict))


def is_test_function(ast, statement):
    return (isinstance(statement, ast.FunctionDef) and statement.name.startswith(("test", "check"))
            and any(isinstance(node, ast.Assert) for node in ast.walk(statement)) and is_safe(ast, statement))


def is_test_statement(ast, statement):
    if isinstance(statement, (ast.Assert, ast.Expr)):
        return is_safe(ast, statement)
    return is_test_function(ast, statement)


def first_test_statement(ast, body):
    """The number of the statement at which the test begins, or None if there is no test to be seen."""
    if body and is_check_call(ast, body[-1]):
        checks = [number for number, statement in enumerate(body) if isinstance(statement, ast.FunctionDef) and statement.name == "check"]
        if checks and checks[-1] == len(body) - 2:
            # A decorator above it stays with the code before: one that the completion left open is then a syntax error.
            first = checks[-1]
            return first - 1 if first and is_metadata(ast, body[first - 1]) else first
    first = len(body)
    while first and is_test_statement(ast, body[first - 1]):
        first -= 1
    while first < len(body) and isinstance(body[first], ast.Expr):
        first += 1
    return first if first < len(body) else None


def split(text):
    """The length in bytes (UTF-8) of the part of the text before the test; all of it if there is no test."""
    import ast
    tree = ast.parse(text, "<string>")
    compile(text, "<string>", "exec", dont_inherit=True)
    first = first_test_statement(ast, tree.body)
    if first is None:
        return len(text.encode())
    statement = tree.body[first]
    lines = text.split("\n")
    return sum(len(line.encode()) + 1 for line in lines[:statement.lineno - 1]) + statement.col_offset


def splitter(job, verdict):
    nonce = job["nonce"]
    try:
        at = split(job["candidate"])
    except BaseException as error:
        kind, text = type(error).__name__, message(error)
        write_frame(verdict, nonce + b"F" + ("%s: %s" % (kind, text)).encode("utf-8", "replace")[:1000])
    else:
        write_frame(verdict, nonce + b"A" + str(at).encode())
