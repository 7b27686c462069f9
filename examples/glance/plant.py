# plant.py
"""Two devices with four registers each. The pump is started, and the valve opens."""


class Device:
    def __init__(self, name, registers=[0, 0, 0, 0]):
        self.name = name
        self.registers = registers

    def write(self, register, value):
        self.registers[register] = value


pump = Device("pump")
valve = Device("valve")


def start():
    pump.write(2, 1)


start()
print(f"pump {pump.registers}, valve {valve.registers}")
