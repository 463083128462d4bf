#!/bin/bash
source venv/bin/activate
accelerate launch --num_cpu_threads_per_process 1 sdxl_train_network.py \
  --pretrained_model_name_or_path="/models/sd_xl_base_1.0.safetensors" \
  --train_data_dir="/data/train" --resolution="1024,1024" --enable_bucket \
  --network_module=networks.lora --network_dim=16 --network_alpha=8 \
  --network_args conv_dim=8 conv_alpha=4 \
  --optimizer_type=AdamW8bit --learning_rate=1e-4 --text_encoder_lr 1e-5 2e-5 \
  --max_train_epochs=10 --train_batch_size=2 --mixed_precision=bf16 --seed 3
