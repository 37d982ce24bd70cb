"""How the submitted CORONet was trained: distilled from an ImageNet-pretrained teacher.

The network that ships is the paper's figure 14 and nothing else; the teacher only writes
softer labels and features for it to imitate while it trains. Four steps, each a command:

    python -m pipeline.experiments.best_model.prepare --data DIR --work WORK
    python -m pipeline.experiments.best_model.train teacher --work WORK ...
    python -m pipeline.experiments.best_model.train student --work WORK ...
    python -m pipeline.experiments.best_model.export --work WORK ...

`prepare` and `export` run in the project's environment. `train` runs in an environment of
its own (`requirements.txt` beside this file): plain PyTorch, channels last in bfloat16,
takes a step four times as fast on a CPU as Keras does on TensorFlow, and its packages
cannot be installed beside TFX's.
"""
