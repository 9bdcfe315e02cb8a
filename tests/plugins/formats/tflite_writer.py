"""Write TFLite files as a converter does, for tests."""

import flatbuffers
import tflite

KINDS = {
    "float32": tflite.TensorType.FLOAT32,
    "float16": tflite.TensorType.FLOAT16,
    "int32": tflite.TensorType.INT32,
    "int8": tflite.TensorType.INT8,
}


class Writer:
    """Builds a TFLite file with the package tflite, as a converter does."""

    def __init__(self):
        self.builder = flatbuffers.Builder(1024)
        self.tensors, self.buffers, self.operators, self.codes = [], [], [], []
        self.buffer(b"")

    def vector(self, values, start, prepend):
        start(self.builder, len(values))
        for each in reversed(values):
            prepend(each)
        return self.builder.EndVector()

    def buffer(self, data):
        place = self.builder.CreateByteVector(data) if data else None
        tflite.BufferStart(self.builder)
        if place is not None:
            tflite.BufferAddData(self.builder, place)
        self.buffers.append(tflite.BufferEnd(self.builder))
        return len(self.buffers) - 1

    def tensor(self, shape, values=None, *, scale=None, kind="float32", buffer=None):
        """Add a tensor and return its number. ``values`` are the values of a constant."""
        if values is not None:
            buffer, kind, shape = self.buffer(values.tobytes("C")), values.dtype.name, values.shape
        name = self.builder.CreateString(f"tensor{len(self.tensors)}")
        sizes = self.vector(shape, tflite.TensorStartShapeVector, self.builder.PrependInt32)
        quantisation = None
        if scale is not None:
            scales = self.vector(
                [scale], tflite.QuantizationParametersStartScaleVector, self.builder.PrependFloat32
            )
            tflite.QuantizationParametersStart(self.builder)
            tflite.QuantizationParametersAddScale(self.builder, scales)
            quantisation = tflite.QuantizationParametersEnd(self.builder)
        tflite.TensorStart(self.builder)
        tflite.TensorAddShape(self.builder, sizes)
        tflite.TensorAddName(self.builder, name)
        tflite.TensorAddType(self.builder, KINDS[kind])
        tflite.TensorAddBuffer(self.builder, buffer or 0)
        if quantisation is not None:
            tflite.TensorAddQuantization(self.builder, quantisation)
        self.tensors.append(tflite.TensorEnd(self.builder))
        return len(self.tensors) - 1

    def operator(self, name, inputs, output, table=None, **options):
        """Add an operator. ``table`` is the name of its table of options, such as ``Conv2DOptions``."""
        if table is not None:
            getattr(tflite, f"{table}Start")(self.builder)
            for option, value in options.items():
                getattr(tflite, f"{table}Add{option}")(self.builder, value)
            kind = getattr(tflite.BuiltinOptions, table)
            table = getattr(tflite, f"{table}End")(self.builder)
        own = self.vector(inputs, tflite.OperatorStartInputsVector, self.builder.PrependInt32)
        written = self.vector([output], tflite.OperatorStartOutputsVector, self.builder.PrependInt32)
        tflite.OperatorStart(self.builder)
        tflite.OperatorAddOpcodeIndex(self.builder, len(self.codes))
        tflite.OperatorAddInputs(self.builder, own)
        tflite.OperatorAddOutputs(self.builder, written)
        if table is not None:
            tflite.OperatorAddBuiltinOptionsType(self.builder, kind)
            tflite.OperatorAddBuiltinOptions(self.builder, table)
        self.operators.append(tflite.OperatorEnd(self.builder))
        number = getattr(tflite.BuiltinOperator, name)
        tflite.OperatorCodeStart(self.builder)
        tflite.OperatorCodeAddDeprecatedBuiltinCode(self.builder, min(number, 127))
        tflite.OperatorCodeAddBuiltinCode(self.builder, number)
        self.codes.append(tflite.OperatorCodeEnd(self.builder))
        return output

    def save(self, path, source, result, graphs=1):
        builder, tables = self.builder, self.builder.PrependUOffsetTRelative
        tensors = self.vector(self.tensors, tflite.SubGraphStartTensorsVector, tables)
        inputs = self.vector([source], tflite.SubGraphStartInputsVector, builder.PrependInt32)
        outputs = self.vector([result], tflite.SubGraphStartOutputsVector, builder.PrependInt32)
        operators = self.vector(self.operators, tflite.SubGraphStartOperatorsVector, tables)
        tflite.SubGraphStart(builder)
        tflite.SubGraphAddTensors(builder, tensors)
        tflite.SubGraphAddInputs(builder, inputs)
        tflite.SubGraphAddOutputs(builder, outputs)
        tflite.SubGraphAddOperators(builder, operators)
        graph = tflite.SubGraphEnd(builder)
        subgraphs = self.vector([graph] * graphs, tflite.ModelStartSubgraphsVector, tables)
        codes = self.vector(self.codes, tflite.ModelStartOperatorCodesVector, tables)
        buffers = self.vector(self.buffers, tflite.ModelStartBuffersVector, tables)
        tflite.ModelStart(builder)
        tflite.ModelAddVersion(builder, 3)
        tflite.ModelAddOperatorCodes(builder, codes)
        tflite.ModelAddSubgraphs(builder, subgraphs)
        tflite.ModelAddBuffers(builder, buffers)
        builder.Finish(tflite.ModelEnd(builder), file_identifier=b"TFL3")
        path.write_bytes(builder.Output())
        return path
