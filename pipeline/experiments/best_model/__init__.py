"""How the submitted CORONet was trained: distilled from an ImageNet-pretrained teacher.

The network that ships is the paper's figure 14 and nothing else; the teacher only writes
softer labels and features for it to imitate while it trains. `run.sh` beside this file has
every command; the steps are:

    prepare      preprocess the images once, assign the folds
    train        fine-tune the teacher; train the student in a few cycles of the cosine
    recalibrate  batch-norm statistics of images as they are served
    untie        the weights under Keras's names
    export       the Keras model, and the submission

`prepare` and `export` run in the project's environment. The others run in an environment of
their own (`requirements.txt` beside this file): plain PyTorch, channels last in bfloat16,
takes a step several times as fast on a CPU as Keras does on TensorFlow
(`benchmarks/train_step.py`), and its packages are not in the project's lock.
"""
