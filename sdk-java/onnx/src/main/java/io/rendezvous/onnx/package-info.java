/** ONNX files as models. */
package io.rendezvous.onnx;
