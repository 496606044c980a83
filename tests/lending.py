"""A GPU that is lent for a call, as ZeroGPU lends it: to a fork, which takes and gives only what can be pickled."""

import functools
import inspect
import multiprocessing
import pickle
import threading
import traceback

import gradio as gr
import torch

_FORK = multiprocessing.get_context("fork")


def lend(task):
    """``task`` as ZeroGPU's package runs it: each call in a fork, all of it pickled on the way there and back."""

    def work(pipe, packed):
        torch.set_num_threads(1)  # threads of the parent's pool are not here, and would be waited for
        args, kwargs = pickle.loads(packed)

        def told():
            try:
                found = task(*args, **kwargs)
                for value in found if inspect.isgeneratorfunction(task) else [found]:
                    pipe.send_bytes(pickle.dumps(("value", value)))
                pipe.send_bytes(pickle.dumps(("end", None)))
            except gr.Error as error:
                pipe.send_bytes(pickle.dumps(("error", error)))
            except Exception as error:  # of all others nothing comes back but its class
                traceback.print_exc()
                pipe.send_bytes(pickle.dumps(("error", gr.Error(type(error).__name__))))

        thread = threading.Thread(target=told)
        thread.start()
        thread.join()

    def stream(*args, **kwargs):
        here, there = _FORK.Pipe()
        process = _FORK.Process(target=work, args=(there, pickle.dumps((args, kwargs))), daemon=True)
        process.start()
        there.close()
        while True:
            kind, value = pickle.loads(here.recv_bytes())
            if kind == "error":
                raise value
            if kind == "end":
                process.join(10)
                return
            yield value

    if inspect.isgeneratorfunction(task):
        return functools.wraps(task)(stream)
    return functools.wraps(task)(lambda *args, **kwargs: next(stream(*args, **kwargs)))
