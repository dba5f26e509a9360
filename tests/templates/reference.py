# SPDX-License-Identifier: Apache-2.0
"""Chat templates as Python's jinja2 renders them, in the environment that published templates are written for: the
sandbox, trim_blocks, lstrip_blocks, loop controls, {% generation %}, tojson as json.dumps with non-ASCII kept,
raise_exception, and strftime_now at a fixed time. Unlike in Hugging Face's immutable sandbox, lists may be changed:
some templates that people use append to them."""
import datetime
import json
import os

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.sandbox import SandboxedEnvironment

NOW = 1750000000  # 2025-06-15 15:06:40 UTC, a Sunday
BOS, EOS = '<s>', '</s>'
HERE = os.path.dirname(os.path.abspath(__file__))
CONVERSATIONS = os.path.join(HERE, '..', 'text', 'templates', 'conversations.json')


class Generation(Extension):
    """{% generation %} marks what a model said; it changes nothing in the text, but has a scope of its own."""
    tags = {'generation'}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(['name:endgeneration'], drop_needle=True)
        return nodes.CallBlock(self.call_method('_inside'), [], [], body).set_lineno(line)

    def _inside(self, caller):
        return caller()


class Refusal(jinja2.exceptions.TemplateError):
    """raise_exception was called."""


def _raise(message):
    raise Refusal(message)


def _strftime(fmt):
    return datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).replace(tzinfo=None).strftime(fmt)


def _tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    env = SandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                               extensions=[Generation, 'jinja2.ext.loopcontrols'])
    env.filters['tojson'] = _tojson
    env.globals['raise_exception'] = _raise
    env.globals['strftime_now'] = _strftime
    return env


def compiled(env, source):
    """The template, or the exception that compiling it raised."""
    try:
        return env.from_string(source)
    except Exception as e:  # whatever it is: the template does not compile
        return e


def render(template, variables):
    """('text', text), ('refused', message of raise_exception) or ('failed', what went wrong)."""
    try:
        if isinstance(template, Exception):
            raise template
        v = {'tools': None, 'documents': None, 'add_generation_prompt': False, **json.loads(json.dumps(variables))}
        return 'text', template.render(bos_token=BOS, eos_token=EOS, **v)
    except Refusal as e:
        return 'refused', str(e)
    except Exception as e:  # whatever a template does wrong
        return 'failed', f'{type(e).__name__}: {e}'


def conversations(path=CONVERSATIONS):
    """Name to variables; add_generation_prompt is among them."""
    with open(path, encoding='utf-8') as f:
        return json.load(f)
