"""What is trained: LoRA and its relatives on the layers of frozen models, through PEFT, in fp32."""
