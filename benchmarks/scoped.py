"""Write an event file with the graph of a net of three named layers and its training: ``scoped.py FOLDER``."""

from __future__ import annotations

import sys

import tensorflow as tf

v1 = tf.compat.v1
with tf.Graph().as_default() as graph:
    y = v1.placeholder(tf.float32, (None, 784), "x")
    labels = v1.placeholder(tf.int32, (None,), "labels")
    for k, units in enumerate((300, 100, 10), 1):
        with tf.name_scope(f"layer{k}"):
            w = v1.Variable(v1.truncated_normal((int(y.shape[1]), units)), name="weights", use_resource=False)
            b = v1.Variable(tf.zeros(units), name="biases", use_resource=False)
            y = tf.nn.bias_add(tf.matmul(y, w), b)
            y = tf.nn.relu(y) if k < 3 else y
            v1.summary.histogram("activations", y)
    with tf.name_scope("loss"):
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, y))
        v1.summary.scalar("value", loss)
    with tf.name_scope("train"):
        v1.train.GradientDescentOptimizer(0.1).minimize(loss)
    v1.summary.merge_all()
    v1.global_variables_initializer()
    v1.train.Saver()
    v1.summary.FileWriter(sys.argv[1], graph).close()
